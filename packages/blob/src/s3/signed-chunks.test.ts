import { createHash } from "node:crypto";
import { concat, fromUtf8, utf8 } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256Ranges } from "../testing/sha256-ranges.ts";
import { SignedChunks } from "./signed-chunks.ts";

const seed = { key: new Uint8Array(32), time: "20130524T000000Z", scope: "20130524/us-east-1/s3/aws4_request", signature: "0".repeat(64) };

/** The data in frames, each head checked for its form. */
function unframed(body: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; ; ) {
    const end = body.indexOf(10, at) + 1;
    const [, length = ""] = /^([0-9a-f]+);chunk-signature=[0-9a-f]{64}\r\n$/.exec(fromUtf8(body.subarray(at, end))) ?? [];
    const chunk = body.subarray(end, end + Number.parseInt(length, 16));
    at = end + chunk.length + 2;
    expect(fromUtf8(body.subarray(at - 2, at))).toBe("\r\n");
    if (chunk.length === 0) {
      expect(at).toBe(body.length);
      return chunks;
    }
    chunks.push(chunk);
  }
}

describe("signed chunks", () => {
  it("are those of Amazon's own example", async () => {
    const { createHmac } = await import("node:crypto");
    const key = [...seed.scope.split("/")].reduce<Uint8Array>(
      (secret, part) => createHmac("sha256", secret).update(part).digest(),
      utf8("AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    );
    const chunks = new SignedChunks([new Uint8Array(65 << 10).fill(0x61)], sha256Ranges, 64 << 10);
    const signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const heads = [...chunks.frames({ ...seed, key, signature })].filter(({ length }) => length < 1000).map(fromUtf8);
    expect(heads).toEqual([
      "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
      "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
      "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n",
      "\r\n",
    ]);
    expect(chunks).toMatchObject({ length: 66_560, framedLength: 66_824 });
  });

  it("hold the same bytes however they come in parts, in chunks of one length, and announce what is sent", () => {
    const part = fc.uint8Array({ maxLength: 50 });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 40 }), (parts, chunkBytes) => {
        const chunks = new SignedChunks(parts, sha256Ranges, chunkBytes);
        const sent = concat([...chunks.frames(seed)]);
        expect(chunks.framedLength).toBe(sent.length);
        const found = unframed(sent);
        expect(concat(found)).toEqual(concat(parts));
        expect(found.slice(0, -1).every(({ length }) => length === chunkBytes)).toBe(true);
      }),
    );
  });

  it("are each signed by the digest of their own bytes, also where the memory is shared and chunks lie in two parts", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(100)).subarray(7, 90).fill(3);
    const digested: string[] = [];
    const noting: typeof sha256Ranges = (data, starts, lengths, count, out) => {
      sha256Ranges(data, starts, lengths, count, out);
      for (let i = 0; i < count; i++) digested.push(Buffer.from(out.subarray(32 * i, 32 * i + 32)).toString("hex"));
    };
    const chunks = new SignedChunks([shared, Uint8Array.of(1, 2, 3)], noting, 40);
    const wanted = unframed(concat([...chunks.frames(seed)])).map((chunk) => createHash("sha256").update(chunk).digest("hex"));
    expect(digested).toEqual(wanted);
    expect(wanted.length).toBe(3);
  });
});
