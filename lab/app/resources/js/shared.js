export const shorten = (commit) => commit.slice(0, 8);
