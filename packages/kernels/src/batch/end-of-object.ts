const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * The offset behind the JSON object that goes on at `at`, where so many braces are open, or -1 when it does not end within these bytes. Entries of a directory's listing are told apart by
 * it without being decoded.
 */
export function endOfObject(bytes: Uint8Array, at: number, open: number): number {
  let depth = open;
  let inText = false;
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inText) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === OPEN_BRACE) depth++;
    else if (byte === CLOSE_BRACE && --depth === 0) return i + 1;
  }
  return -1;
}
