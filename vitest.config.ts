import { defineConfig } from "vitest/config";

/**
 * Four projects: `unit` needs nothing, `e2e` brings up the embedded cluster, `compat` needs the real programs that ../shared/peers builds, `real-cluster` those and containerd,
 * and namespaces of its own, so that it is started by tools/real-cluster.ts.
 */
export default defineConfig({
  test: {
    passWithNoTests: false,
    // Every core: what is left free by default would be half of a machine with two.
    maxWorkers: "100%",
    projects: [
      {
        test: {
          name: "unit",
          include: ["packages/**/*.test.ts", "apps/**/*.test.ts", "tools/**/*.test.ts"],
          globalSetup: ["test/kernels-first.ts"],
          // For tests that take a second or two on a machine of their own: what hangs ends, what shares the machine does not fail.
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: ["test/kernels-first.ts", "test/bundle-first.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          // A cluster is idle for most of its test, and each file has one of its own.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "compat",
          include: ["test/compat/**/*.test.ts"],
          globalSetup: ["test/kernels-first.ts", "test/bundle-first.ts"],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "real-cluster",
          include: [
            "test/real-cluster/**/*.test.ts",
            // Those of the embedded cluster that depend on a kubelet most, as they are.
            ...["data-movement", "pod-volumes"].map((name) => `test/e2e/${name}.test.ts`),
          ],
          globalSetup: ["test/kernels-first.ts", "test/bundle-first.ts"],
          testTimeout: 300_000,
          hookTimeout: 400_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
