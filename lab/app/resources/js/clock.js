import { shorten } from './shared.js';

export function showTime(parent) {
    const line = document.createElement('p');
    line.textContent = `Loaded ${shorten(new Date().toISOString().slice(11))} UTC`;
    parent.append(line);
}
