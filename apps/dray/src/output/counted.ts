/** `1 file`, `2 files`; of a word with another plural, both are given. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
