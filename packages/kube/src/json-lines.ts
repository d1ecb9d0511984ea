import { asBuffer, DrayError } from "@drayage/base";

const NEWLINE = 0x0a;
/** Larger than any object etcd takes (1.5 MiB by default), also in JSON with its escapes. */
const LINE_BYTES_MAX = 16 << 20;

/**
 * Splits a byte stream into JSON values, one a line. Only the byte 0x0A ends a line: U+2028 and its kin inside a string do not.
 * A last line without its end is what a broken connection leaves, and is dropped. Throws KUBE_UNAVAILABLE on a line that is not JSON or has no end in sight.
 */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void, undefined> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  for await (const chunk of chunks) {
    const bytes = asBuffer(chunk);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE, start); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      const line = held.length === 0 ? bytes.subarray(start, end) : Buffer.concat([...held, bytes.subarray(start, end)]);
      held = [];
      heldBytes = 0;
      start = end + 1;
      if (line.length > 0) yield parseLine(line);
    }
    if (start < bytes.length) {
      // Copied, because the transport may reuse the chunk's memory after this turn.
      held.push(Buffer.from(bytes.subarray(start)));
      heldBytes += bytes.length - start;
      if (heldBytes > LINE_BYTES_MAX) {
        throw new DrayError("KUBE_UNAVAILABLE", `Cannot read the watch stream: a line is longer than ${LINE_BYTES_MAX} bytes`);
      }
    }
  }
}

function parseLine(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString("utf8"));
  } catch (cause) {
    throw new DrayError("KUBE_UNAVAILABLE", `Cannot read the watch stream: a line of ${line.length} bytes is not JSON`, { cause });
  }
}
