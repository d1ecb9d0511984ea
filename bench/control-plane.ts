/**
 * A backup of 10,000 resources in 100 namespaces and its restore into an empty cluster, by Velero's server and by ours in turn, over a real API server and etcd.
 *
 *   node bench/control-plane.ts [--quick] [--namespaces N] [--runs N] [--only velero|drayage] [--work backup] [--lines FILE]
 *
 * Prints a line of JSON for each run (appended to FILE as well), then a table for bench/results.md. `--quick` takes 500 resources in 5 namespaces, `--namespaces N` a hundred in each of N; `--work backup` leaves the restores out.
 * Each run has a server process of its own; each restore a cluster of its own. Programs are found as test/compat/peers.ts says.
 */
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock } from "@drayage/base";
import { startObjectStore } from "@drayage/embedded/object-store";
import { BUCKET, KEYS, REGION, VELERO } from "../test/e2e/harness.ts";
import { ensureBundle } from "../tools/bundle.ts";
import { OBJECTS_PER_NAMESPACE } from "./control-plane/objects.ts";
import { type Figures, type Who, World } from "./control-plane/world.ts";

const option = (name: string): string | undefined => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);
const quick = process.argv.includes("--quick");
const runs = Number(option("--runs") ?? (quick ? 1 : 2));
const contenders = (["velero", "drayage"] as const).filter((who) => (option("--only") ?? who) === who);
const namespaceCount = Number(option("--namespaces") ?? (quick ? 5 : 100));

const folder = mkdtempSync(join(tmpdir(), "dray-control-plane-"));
const store = await startObjectStore({
  directory: join(folder, "store"),
  buckets: [BUCKET],
  credentials: KEYS,
  region: REGION,
  clock: systemClock,
  logger: nullLogger,
});
const locationConfig = { region: REGION, s3ForcePathStyle: "true", s3Url: store.url };
try {
  await ensureBundle();
  const figures: Figures[] = [];
  const tell = (line: Figures): void => {
    figures.push(line);
    const text = `${JSON.stringify({ ...line, resources: namespaceCount * OBJECTS_PER_NAMESPACE, load: Math.round((loadavg()[0] ?? 0) * 10) / 10 })}\n`;
    process.stdout.write(text);
    const file = option("--lines");
    if (file !== undefined) appendFileSync(file, text);
  };
  const source = await World.start(join(folder, "source"), locationConfig);
  try {
    await source.fill(namespaceCount);
    for (let run = 1; run <= runs; run++) {
      for (const who of contenders) tell(await source.backUp(who, `${who}-${run}`, { includedNamespaces: ["*"], excludedNamespaces: [VELERO] }));
    }
    const backupName = `${contenders[0]}-1`;
    for (let run = 1; run <= runs && option("--work") !== "backup"; run++) {
      for (const who of contenders) {
        const target = await World.start(join(folder, `target-${who}-${run}`), locationConfig);
        try {
          await target.adopt(source, backupName);
          tell(await target.restore(who, `restore-${run}`, { backupName, excludedNamespaces: [VELERO], includeClusterResources: true }));
        } finally {
          await target.close();
        }
      }
    }
  } finally {
    await source.close();
  }
  process.stdout.write(table(figures));
} finally {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
}

function table(figures: readonly Figures[]): string {
  const mean = (what: Figures["what"], who: Who, of: (line: Figures) => number): number => {
    const values = figures.filter((line) => line.what === what && line.who === who).map(of);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const rows = (["backup", "restore"] as const).flatMap((what) => {
    const row = (who: Who): string =>
      `| ${what}, ${who} | ${mean(what, who, (line) => line.wallSeconds).toFixed(1)} | ${mean(what, who, (line) => line.cpuSeconds).toFixed(1)} | ${mean(what, who, (line) => line.apiServerCpuSeconds).toFixed(1)} | ${Math.round(mean(what, who, (line) => line.peakMiB))} (${Math.round(mean(what, who, (line) => line.peakWithChildrenMiB))}) | ${Math.round(mean(what, who, (line) => line.requests))} |`;
    const ratio = mean(what, "drayage", (line) => line.wallSeconds) / mean(what, "velero", (line) => line.wallSeconds);
    return [...contenders.map(row), ...(Number.isNaN(ratio) ? [] : [`| ${what}, our wall ÷ Velero's | ${ratio.toFixed(2)} | | | | |`])];
  });
  return [
    "",
    "| work | wall s | CPU s | CPU s of the API server | peak MiB of the process (with its children) | requests |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
