import { afterEach, expect, it, vi } from "vitest";
import { kernelFinding } from "./kernels.ts";

afterEach(() => vi.unstubAllEnvs());

it("says that the portable kernels run where they were asked for, how fast they are, and what would help", async () => {
  vi.stubEnv("DRAY_KERNELS", "portable");
  const { severity, what, why, fix } = await kernelFinding();
  expect(severity).toBe("warning");
  expect(what).toMatch(/^The portable kernels are in use here: cutting \d+, hashing \d+, encrypting with read-back \d+ MB\/s a thread$/);
  expect(why).toBe("it was asked for");
  expect(fix).toMatch(/C\+\+ compiler/);
});
