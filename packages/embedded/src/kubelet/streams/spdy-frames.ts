/**
 * Frames of SPDY/3.1, as far as Kubernetes streams use it. Source: draft-mbelshe-httpbis-spdy-00, sections 2.2 and 2.6.
 *
 *   control frame                                   data frame
 *   offset size field                               offset size field
 *        0    2 0x8000 | version (3)                     0    4 stream id, 31 bits
 *        2    2 type                                     4    1 flags (1: the last of its stream)
 *        4    1 flags                                    5    3 length of what follows
 *        5    3 length of what follows                   8    - bytes
 *        8    - by type, see `decodeControl`
 *
 * Header blocks of one direction are one zlib stream with a fixed dictionary: u32 count, then for each u32 length, name, u32 length, value. All numbers are big-endian.
 */
import type { Duplex } from "node:stream";
import { constants, createInflate, type Inflate } from "node:zlib";
import { DrayError } from "@drayage/base";
import { SPDY_DICTIONARY } from "./spdy-dictionary.ts";

export type SpdyFrame =
  | { readonly kind: "open"; readonly streamId: number; readonly headers: ReadonlyMap<string, string>; readonly isLast: boolean }
  /** A part of a data frame: long frames come in pieces, of which only the last can be the last of the stream. */
  | { readonly kind: "data"; readonly streamId: number; readonly bytes: Buffer; readonly isLast: boolean }
  | { readonly kind: "reset"; readonly streamId: number }
  | { readonly kind: "ping"; readonly id: number }
  | { readonly kind: "goAway" };

const VERSION = 3;
const TYPE = { synStream: 1, synReply: 2, rstStream: 3, settings: 4, ping: 6, goAway: 7, headers: 8, windowUpdate: 9 } as const;
const FLAG_FIN = 1;
const HEADER_BYTES = 8;
/** Kubernetes sends a handful of short headers; data frames have no such limit, because they are not kept. */
const CONTROL_BYTES_MAX = 16 << 10;
const HEADERS_BYTES_MAX = 64 << 10;
const ID_MASK = 0x7fff_ffff;

/** Why a stream is reset. */
export const RESET = { protocolError: 1, refusedStream: 3, cancel: 5 } as const;

/** Reads frames until the connection ends; frames that say nothing of interest here are left out. Throws KUBE_BAD_REQUEST for what is no SPDY. */
export async function* readFrames(wire: Duplex): AsyncGenerator<SpdyFrame> {
  const headers = new HeaderReader();
  let held: Buffer = Buffer.alloc(0);
  /** What is still to come of a data frame. */
  let data: { readonly streamId: number; readonly isLast: boolean; left: number } | undefined;
  try {
    for await (const chunk of wire as AsyncIterable<Buffer>) {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      for (;;) {
        if (data !== undefined) {
          const bytes = held.subarray(0, data.left);
          held = held.subarray(bytes.length);
          data.left -= bytes.length;
          const isComplete = data.left === 0;
          const { streamId, isLast } = data;
          if (isComplete) data = undefined;
          if (bytes.length > 0 || isComplete) yield { kind: "data", streamId, bytes, isLast: isLast && isComplete };
          if (!isComplete) break;
        }
        if (held.length < HEADER_BYTES) break;
        const length = held.readUIntBE(5, 3);
        const flags = held.readUInt8(4);
        if ((held.readUInt8(0) & 0x80) === 0) {
          data = { streamId: held.readUInt32BE(0), isLast: (flags & FLAG_FIN) !== 0, left: length };
          held = held.subarray(HEADER_BYTES);
          continue;
        }
        const version = held.readUInt16BE(0) & 0x7fff;
        if (version !== VERSION) throw malformed(`the frame is of version ${version}, ${VERSION} is wanted`);
        if (length > CONTROL_BYTES_MAX) throw malformed(`a control frame has ${length} bytes, at most ${CONTROL_BYTES_MAX} are wanted`);
        if (held.length < HEADER_BYTES + length) break;
        const type = held.readUInt16BE(2);
        const payload = held.subarray(HEADER_BYTES, HEADER_BYTES + length);
        held = held.subarray(HEADER_BYTES + length);
        const frame = await decodeControl(headers, type, flags, payload);
        if (frame !== undefined) yield frame;
      }
    }
  } finally {
    headers.close();
  }
}

async function decodeControl(headers: HeaderReader, type: number, flags: number, payload: Buffer): Promise<SpdyFrame | undefined> {
  const need = (bytes: number): void => {
    if (payload.length < bytes) throw malformed(`a frame of type ${type} has ${payload.length} bytes, at least ${bytes} are wanted`);
  };
  switch (type) {
    // stream id, associated stream id, priority and slot (u16), header block
    case TYPE.synStream: {
      need(10);
      return { kind: "open", streamId: payload.readUInt32BE(0) & ID_MASK, headers: await headers.read(payload.subarray(10)), isLast: (flags & FLAG_FIN) !== 0 };
    }
    // stream id, header block: read for the sake of the blocks after it, which build on it.
    case TYPE.synReply:
    case TYPE.headers:
      need(4);
      await headers.read(payload.subarray(4));
      return undefined;
    // stream id, status
    case TYPE.rstStream:
      need(8);
      return { kind: "reset", streamId: payload.readUInt32BE(0) & ID_MASK };
    case TYPE.ping:
      need(4);
      return { kind: "ping", id: payload.readUInt32BE(0) };
    case TYPE.goAway:
      return { kind: "goAway" };
    // Settings and windows: Kubernetes' own implementation keeps no windows.
    default:
      return undefined;
  }
}

/** Reads header blocks, each of which builds on those before it. */
class HeaderReader {
  readonly #inflate: Inflate = createInflate({ dictionary: SPDY_DICTIONARY, flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH });
  #parts: Buffer[] = [];
  #length = 0;
  #error: Error | undefined;

  constructor() {
    this.#inflate.on("data", (part: Buffer) => {
      this.#length += part.length;
      if (this.#length > HEADERS_BYTES_MAX) this.#inflate.destroy(malformed(`headers of more than ${HEADERS_BYTES_MAX} bytes`));
      else this.#parts.push(part);
    });
    this.#inflate.on("error", (error) => {
      this.#error = error;
    });
  }

  async read(block: Buffer): Promise<ReadonlyMap<string, string>> {
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void => reject(malformed(`headers cannot be decompressed (${error.message})`));
      if (this.#error !== undefined) return fail(this.#error);
      this.#inflate.once("error", fail);
      this.#inflate.write(block, (error) => {
        this.#inflate.off("error", fail);
        if (error != null) fail(error);
        else resolve();
      });
    });
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    return decodeHeaders(bytes);
  }

  close(): void {
    this.#inflate.destroy();
  }
}

function decodeHeaders(bytes: Buffer): ReadonlyMap<string, string> {
  let at = 0;
  const number = (): number => {
    if (bytes.length - at < 4) throw malformed("headers end in the middle of a number");
    at += 4;
    return bytes.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (length > bytes.length - at) throw malformed(`a header has ${length} bytes, ${bytes.length - at} remain`);
    at += length;
    return bytes.toString("utf8", at - length, at);
  };
  const count = number();
  if (count * 8 > bytes.length - at) throw malformed(`there are said to be ${count} headers in ${bytes.length - at} bytes`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = text();
    headers.set(name, text());
  }
  return headers;
}

/**
 * A block that says there are no headers, as a stored piece of the zlib stream, which the first of a connection begins. The empty piece after it is what makes Go's
 * decompressor hand out what it has.
 */
const NO_HEADERS = Buffer.of(0x00, 0x04, 0x00, 0xfb, 0xff, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xff, 0xff);
const ZLIB_BEGINS = Buffer.of(0x78, 0x01);

/** Accepts a stream. */
export function encodeReply(streamId: number, isFirst: boolean): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(streamId);
  return control(TYPE.synReply, 0, [id, ...(isFirst ? [ZLIB_BEGINS] : []), NO_HEADERS]);
}

export function encodeData(streamId: number, bytes: Uint8Array, isLast: boolean): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt8(isLast ? FLAG_FIN : 0, 4);
  header.writeUIntBE(bytes.length, 5, 3);
  return Buffer.concat([header, bytes]);
}

export function encodeReset(streamId: number, status: number): Buffer {
  return control(TYPE.rstStream, 0, [numbers(streamId, status)]);
}

export function encodePing(id: number): Buffer {
  return control(TYPE.ping, 0, [numbers(id)]);
}

function control(type: number, flags: number, parts: readonly Buffer[]): Buffer {
  const payload = Buffer.concat(parts);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(0x8000 | VERSION, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt8(flags, 4);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}

function malformed(what: string): DrayError {
  return new DrayError("KUBE_BAD_REQUEST", `Cannot read a SPDY connection: ${what}`);
}
