import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { constants, createDeflate, createInflate, deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { SpdyConnection, type SpdyStream } from "./spdy-connection.ts";
import { SPDY_DICTIONARY } from "./spdy-dictionary.ts";

/** The other side, as plain as a client can be. */
class Client {
  readonly wire: Duplex;
  readonly streams: SpdyStream[] = [];
  readonly connection: SpdyConnection;
  readonly #deflate = createDeflate({ dictionary: SPDY_DICTIONARY });
  #got = Buffer.alloc(0);

  constructor() {
    const [ours, theirs] = duplexPair();
    this.wire = ours;
    this.connection = new SpdyConnection(theirs, (stream) => this.streams.push(stream));
  }

  async open(streamId: number, headers: Readonly<Record<string, string>>, flags = 0): Promise<void> {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(Object.keys(headers).length);
    const block = Buffer.concat([count, ...Object.entries(headers).flat().map(counted)]);
    const parts: Buffer[] = [];
    const take = (part: Buffer): void => void parts.push(part);
    this.#deflate.on("data", take);
    this.#deflate.write(block);
    await new Promise<void>((resolve) => this.#deflate.flush(constants.Z_SYNC_FLUSH, resolve));
    this.#deflate.off("data", take);
    const start = Buffer.alloc(10);
    start.writeUInt32BE(streamId);
    this.control(1, flags, Buffer.concat([start, ...parts]));
  }

  control(type: number, flags: number, payload: Buffer, version = 3): void {
    this.wire.write(
      Buffer.concat([Buffer.of(0x80, version, 0, type, flags, payload.length >> 16, (payload.length >> 8) & 255, payload.length & 255), payload]),
    );
  }

  data(streamId: number, bytes: Uint8Array, flags = 0): void {
    const header = Buffer.alloc(8);
    header.writeUInt32BE(streamId);
    header.writeUInt32BE(bytes.length, 4);
    header[4] = flags;
    this.wire.write(Buffer.concat([header, bytes]));
  }

  /** The next frame that came: its first four bytes, its flags, and what follows. */
  async frame(): Promise<{ readonly head: number; readonly flags: number; readonly payload: Buffer }> {
    for (;;) {
      const length = this.#got.length < 8 ? Number.POSITIVE_INFINITY : this.#got.readUIntBE(5, 3);
      if (this.#got.length >= 8 + length) {
        const frame = { head: this.#got.readUInt32BE(0), flags: this.#got[4] ?? 0, payload: this.#got.subarray(8, 8 + length) };
        this.#got = this.#got.subarray(8 + length);
        return frame;
      }
      const part = this.wire.read() as Buffer | null;
      if (part === null) await once(this.wire, "readable");
      else this.#got = Buffer.concat([this.#got, part]);
    }
  }
}

function counted(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(text));
  return Buffer.concat([length, Buffer.from(text)]);
}

const SYN_REPLY = 0x8003_0002;
const RST_STREAM = 0x8003_0003;
const PING = 0x8003_0006;

describe("SpdyConnection", () => {
  it("starts from the dictionary of SPDY/3, whose checksum the first bytes of its header blocks carry", () => {
    expect(SPDY_DICTIONARY).toHaveLength(1423);
    expect(deflateSync("", { dictionary: SPDY_DICTIONARY }).readUInt32BE(2)).toBe(0xe3c6_a7c2);
  });

  it("accepts streams, with replies that form one zlib stream, and carries bytes both ways until each side ends", async () => {
    const client = new Client();
    await client.open(1, { streamtype: "stdin", port: "80" });
    await client.open(3, { streamtype: "stdout" });
    const replies = [await client.frame(), await client.frame()];
    expect(replies.map(({ head, payload }) => [head, payload.readUInt32BE(0)])).toEqual([
      [SYN_REPLY, 1],
      [SYN_REPLY, 3],
    ]);
    const inflate = createInflate({ dictionary: SPDY_DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH });
    inflate.end(Buffer.concat(replies.map(({ payload }) => payload.subarray(4))));
    expect(Buffer.concat(await inflate.toArray())).toEqual(Buffer.alloc(8));
    const [stdin, stdout] = client.streams;
    expect([...(stdin?.headers ?? [])]).toEqual([
      ["streamtype", "stdin"],
      ["port", "80"],
    ]);

    client.data(1, Buffer.from("hel"));
    client.data(1, Buffer.from("lo"), 1);
    expect(Buffer.concat((await stdin?.toArray()) ?? []).toString()).toBe("hello");
    stdout?.end("there");
    expect(await client.frame()).toEqual({ head: 3, flags: 0, payload: Buffer.from("there") });
    expect(await client.frame()).toEqual({ head: 3, flags: 1, payload: Buffer.alloc(0) });
  });

  it("reads frames that come byte by byte, and does not keep a long one", async () => {
    const client = new Client();
    await client.open(1, {});
    await client.frame();
    const text = Buffer.alloc(300_000, "x");
    const sent = client.streams[0]?.toArray();
    const header = Buffer.from([0, 0, 0, 1, 1, 0x04, 0x93, 0xe0]);
    for (const byte of header) client.wire.write(Buffer.of(byte));
    for (let at = 0; at < text.length; at += 10_000) client.wire.write(text.subarray(at, at + 10_000));
    expect(Buffer.concat((await sent) ?? [])).toEqual(text);
  });

  it("answers pings, resets what it does not accept, and forgets what the other side resets", async () => {
    const client = new Client();
    client.control(6, 0, Buffer.of(0, 0, 0, 7));
    expect(await client.frame()).toEqual({ head: PING, flags: 0, payload: Buffer.of(0, 0, 0, 7) });
    await client.open(2, {});
    expect(await client.frame()).toMatchObject({ head: RST_STREAM, payload: Buffer.of(0, 0, 0, 2, 0, 0, 0, 1) });
    await client.open(5, {});
    expect((await client.frame()).head).toBe(SYN_REPLY);
    await client.open(3, {});
    expect(await client.frame()).toMatchObject({ head: RST_STREAM, payload: Buffer.of(0, 0, 0, 3, 0, 0, 0, 1) });
    const closed = once(client.streams[0] as SpdyStream, "close");
    client.control(3, 0, Buffer.of(0, 0, 0, 5, 0, 0, 0, 5));
    await closed;
    client.streams[0]?.destroy();
    client.control(6, 0, Buffer.of(0, 0, 0, 9));
    expect((await client.frame()).head).toBe(PING);
  });

  it.each<[what: string, spoil: (client: Client) => void]>([
    ["another version", (client) => client.control(6, 0, Buffer.alloc(4), 2)],
    ["a control frame that is too long", (client) => client.control(6, 0, Buffer.alloc(20_000))],
    ["a control frame that is too short", (client) => client.control(1, 0, Buffer.alloc(9))],
    ["headers that are not compressed", (client) => client.control(1, 0, Buffer.alloc(40, 1))],
    [
      "more headers than there are bytes",
      (client) =>
        client.control(1, 0, Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), deflateSync(Buffer.alloc(4, 255), { dictionary: SPDY_DICTIONARY })])),
    ],
    [
      "headers that grow without end",
      (client) =>
        client.control(1, 0, Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), deflateSync(Buffer.alloc(1 << 20), { dictionary: SPDY_DICTIONARY })])),
    ],
    ["its end", (client) => client.wire.end()],
    ["a farewell", (client) => client.control(7, 0, Buffer.alloc(8))],
  ])("ends with its streams at %s", async (_what, spoil) => {
    const client = new Client();
    await client.open(1, {});
    await client.frame();
    const ended = once(client.streams[0] as SpdyStream, "close");
    client.wire.on("error", () => undefined);
    spoil(client);
    await ended;
    expect(client.connection.isOpen).toBe(false);
  });
});
