import { toHex, utf8 } from "@drayage/base";
import { expect, it } from "vitest";
import { createKernels } from "./kernels.ts";

it("createKernels gives every part, tested", async () => {
  const kernels = await createKernels();
  const hasher = await kernels.hasher(
    "BLAKE2B-256-128",
    Uint8Array.from({ length: 32 }, (_, i) => i),
  );
  expect(toHex(hasher.hash(utf8("abc")))).toBe("d63a32d3e44738d7907f964316c241ad");
  expect(kernels.splitter("DYNAMIC-4M-BUZHASH").maxChunkBytes).toBe(8 << 20);
  expect(kernels.encryptor("AES256-GCM-HMAC-SHA256", new Uint8Array(32)).overheadBytes).toBe(28);
  expect(kernels.compressorByHeader(0x1100).name).toBe("zstd");
  expect(kernels.compressor("gzip").headerId).toBe(0x1000);
  expect(kernels.system.alignedBuffer(1).length).toBe(1);
});
