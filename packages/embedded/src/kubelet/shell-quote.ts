/** One word of POSIX sh for any text without NUL: single quotes, inside which nothing is special. */
export function shellQuote(text: string): string {
  return /^[A-Za-z0-9_/.,:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A command line of POSIX sh. */
export function shellCommand(words: readonly string[]): string {
  return words.map(shellQuote).join(" ");
}
