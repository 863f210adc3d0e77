import '../css/app.css';
import mark from '../images/mark.svg';
import { shorten } from './shared.js';

document.getElementById('mark').src = mark;

const commit = document.getElementById('commit');
commit.title = commit.textContent;
commit.textContent = shorten(commit.textContent);

// A chunk of its own, so that the manifest has an entry that imports another one.
import('./clock.js').then(({ showTime }) => showTime(document.body));
