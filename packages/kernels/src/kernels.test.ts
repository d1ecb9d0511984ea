import { existsSync, readFileSync } from "node:fs";
import { toHex, utf8 } from "@drayage/base";
import { expect, it } from "vitest";
import { createKernels } from "./kernels.ts";
import { prepareNative } from "./native/prepare-native.ts";
import { isPageAligned } from "./system/system-calls.ts";

const hasAddon = (await prepareNative()).state !== "unavailable";

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

it.runIf(hasAddon && existsSync("/sys/kernel/mm/transparent_hugepage"))(
  "much memory lies in large pages where they are to be had, and little does not",
  async () => {
    /** Memory of this process for which large pages were asked, in KiB. */
    const askedKib = (): number => {
      let kib = 0;
      for (const [, size, flags] of readFileSync("/proc/self/smaps", "utf8").matchAll(/^Size:\s+(\d+) kB$[\s\S]*?^VmFlags:(.*)$/gm))
        if (` ${flags} `.includes(" hg ")) kib += Number(size);
      return kib;
    };
    const { system } = await createKernels({ build: "native" });
    const before = askedKib();
    const little = system.alignedBuffer(1 << 20);
    expect(askedKib()).toBe(before);
    const much = system.alignedBuffer(8 << 20);
    expect(askedKib()).toBe(before + (8 << 10));
    expect([little, much].map(isPageAligned)).toEqual([true, true]);
    const portable = await createKernels({ build: "portable" });
    expect(portable.system.alignedBuffer(8 << 20).length).toBe(8 << 20);
    expect(askedKib()).toBe(before + (8 << 10));
  },
);
