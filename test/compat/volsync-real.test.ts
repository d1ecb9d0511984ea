/** A real VolSync: its definitions beside ours, and the data mover of OADP 1.2 with it, which serves what our controllers ask it for: its Jobs run its own mover with the real restic, and ours stay away. */
import { readFileSync } from "node:fs";
import { loadCrds, replicationSources, VOLSYNC_OWNER_LABEL, volumeSnapshotBackups, volumeSnapshotRestores } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { jobs, namespaces, pods, secrets, startInformer } from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "../e2e/sample-application.ts";
import { type PeerProcess, peer } from "./peers.ts";
import { announceVolSync, startRealVolSync, volSyncMoverImage } from "./real-volsync.ts";
import { volSyncEraLeftovers } from "./volsync-era-leftovers.ts";

let harness: Harness;
let volSync: PeerProcess | undefined;
/** Of everything that moved data at any time: `Job <name>` are VolSync's, `Pod <name>` would be ours. */
const movers = new Set<string>();
let stopWatching = (): void => undefined;

beforeAll(async () => {
  harness = await Harness.start({ nodes: 1, serverArgs: ["--volsync-era"], imageMap: [volSyncMoverImage()] });
  const { client } = harness;
  await announceVolSync(harness, VELERO);
  await client.patch(namespaces, { name: VELERO }, "merge", { metadata: { annotations: { "volsync.backube/privileged-movers": "true" } } });
  const data = { RESTIC_PASSWORD: Buffer.from("of the year before last").toString("base64") };
  await client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: VELERO, name: "dm-credential" }, data });
  const where = { client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: VELERO };
  const watched = [startInformer(jobs, where), startInformer(pods, { ...where, labelSelector: VOLSYNC_OWNER_LABEL })];
  for (const informer of watched)
    informer.onChange(() => {
      for (const { kind, metadata } of informer.list()) movers.add(`${kind} ${metadata.name?.replace(/-\d{6,}|-[0-9a-f-]{36}/g, "")}`);
    });
  stopWatching = () => {
    for (const informer of watched) informer.stop();
  };
  await deployApplication(harness, "shop", { orders: {}, scratch: {} });
  await fillFolder(harness, "shop", "orders");
}, 180_000);
afterAll(async () => {
  stopWatching();
  await volSync?.stop();
  await harness?.destroy();
});

/** What a volume holds, without its own directory, of which restic keeps nothing. */
async function contents(claim: string): Promise<string[]> {
  return (await factsOf(harness, "shop", claim)).split("\n").filter((line) => !line.startsWith(". ") && !line.startsWith("./lost+found"));
}

async function left(): Promise<string[]> {
  const { items } = await harness.client.list(jobs, { namespace: VELERO });
  return [...(await volSyncEraLeftovers(harness)), ...items.map(({ metadata }) => `Job ${metadata.name}`)];
}

interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
}
interface Definition {
  readonly spec: {
    readonly names: object;
    readonly versions: readonly [{ readonly additionalPrinterColumns: object; readonly schema: { readonly openAPIV3Schema: Schema } }];
  };
}

/** Where the definition of one differs from that of the other: every field of theirs, down to what ours keeps unread. */
function differences(theirs: Schema, ours: Schema | undefined, path = ""): string[] {
  if (ours?.["x-kubernetes-preserve-unknown-fields"] === true) return [];
  const facts = ({ type, format, enum: values, required }: Schema = {}): string => JSON.stringify({ type, format, values, required });
  return [
    ...(facts(theirs) === facts(ours) ? [] : [`${path}: ${facts(theirs)}, ours ${facts(ours)}`]),
    ...Object.entries(theirs.properties ?? {}).flatMap(([name, field]) => differences(field, ours?.properties?.[name], `${path}.${name}`)),
    ...(theirs.items === undefined ? [] : differences(theirs.items, ours?.items, `${path}[]`)),
  ];
}

it("the kinds that are installed where no VolSync was are VolSync's, field by field", () => {
  const published = [peer("volsync-replicationdestinations.yaml"), peer("volsync-replicationsources.yaml")];
  const ours = loadCrds("volsync.backube") as unknown as Definition[];
  expect(ours).toHaveLength(2);
  for (const [index, path] of published.entries()) {
    const { spec } = parse(readFileSync(path, "utf8")) as Definition;
    const mine = (ours[index] as Definition).spec;
    expect(mine.names).toEqual(spec.names);
    expect(mine.versions[0].additionalPrinterColumns).toEqual(spec.versions[0].additionalPrinterColumns);
    expect(differences(spec.versions[0].schema.openAPIV3Schema, mine.versions[0].schema.openAPIV3Schema)).toEqual([]);
  }
});

describe("with the data mover of OADP 1.2 and a real VolSync", () => {
  let before: string[];

  it("a backup waits for VolSync while it is away, and is made by it when it is back", async () => {
    before = await contents("orders");
    await harness.startBackup("daily", { includedNamespaces: ["shop"] });
    const waiting = await harness.seen(replicationSources, { namespace: VELERO }, (found) => (found.length === 2 ? found : undefined));
    expect(waiting.map(({ status }) => status)).toEqual([undefined, undefined]);
    volSync = await startRealVolSync(harness);
    const { status } = await harness.endOfBackup("daily");
    const made = (await harness.client.list(volumeSnapshotBackups, { namespace: "shop" })).items;
    expect(status, `${JSON.stringify(made.map((one) => one.status))}\n${volSync.output().slice(-4_000)}`).toMatchObject({
      phase: "Completed",
      backupItemOperationsCompleted: 4,
    });
    expect(made.map((one) => one.status?.phase)).toEqual(["Completed", "Completed"]);
    const orders = made.find((one) => one.status?.sourcePVCData?.name === "orders");
    const { bytesDone } = JSON.parse(orders?.metadata.annotations?.["drayage.io/progress"] ?? "{}") as { bytesDone?: number };
    expect(bytesDone).toBeGreaterThan(3_145_728);
    expect(
      [...movers].every((mover) => /^Job volsync-src-/.test(mover)),
      [...movers].join(),
    ).toBe(true);
    expect(await left()).toEqual([]);
  }, 180_000);

  it("a restore is made by it too, and the application starts over what VolSync and restic brought back", async () => {
    movers.clear();
    await harness.deleteNamespace("shop");
    const { status } = await harness.restore("back", { backupName: "daily" });
    const made = (await harness.client.list(volumeSnapshotRestores, { namespace: "shop" })).items;
    expect(status, `${JSON.stringify(made.map((one) => one.status))}\n${volSync?.output().slice(-4_000)}`).toMatchObject({
      phase: "Completed",
      restoreItemOperationsCompleted: 2,
    });
    await untilRunning(harness, "shop");
    expect(await contents("orders")).toEqual(before);
    expect(await contents("scratch")).toEqual([""]);
    expect(
      [...movers].every((mover) => /^Job volsync-dst-/.test(mover)),
      [...movers].join(),
    ).toBe(true);
    expect(await left()).toEqual([]);
  }, 180_000);
});
