import { type DataMover, type DataMoverClass, dataMoverClasses, dataMovers } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { FakeKubeClient } from "@drayage/kube/testing";
import { expect, it } from "vitest";
import { startMoverAcceptanceController } from "./mover-acceptance-controller.ts";

const mover = (properties: object = { level: { type: "integer", minimum: 1, description: "How hard" } }): DataMover => ({
  metadata: { name: "tar" },
  spec: {
    version: "1.0.0",
    description: "tar",
    module: "/tar.ts",
    capabilities: { kinds: ["persistentvolumeclaims"] },
    parameters: { type: "object", properties },
  },
});
const dataMoverClass = (name: string, spec: DataMoverClass["spec"]): DataMoverClass => ({ metadata: { name }, spec });

async function withController<T>(work: (client: FakeKubeClient, settled: () => Promise<Record<string, string>>) => Promise<T>): Promise<T> {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, random: seededRandom(1), statusSubresources: ["datamovers.drayage.io", "datamoverclasses.drayage.io"] });
  client.seed(dataMovers, mover());
  const controller = startMoverAcceptanceController({ client, clock, random: seededRandom(2), logger: nullLogger });
  const settled = async (): Promise<Record<string, string>> => {
    // Events reach the caches, and what they lead to the API.
    for (let round = 0; round < 3; round++) {
      await settle();
      await controller.idle();
    }
    const all = [...(await client.list(dataMovers)).items, ...(await client.list(dataMoverClasses)).items];
    return Object.fromEntries(
      all.map(({ metadata, status }) => {
        const [found] = status?.conditions ?? [];
        return [metadata.name, `${found?.status} ${found?.reason} ${found?.observedGeneration === metadata.generation} ${found?.message}`];
      }),
    );
  };
  try {
    return await work(client, settled);
  } finally {
    await controller.stop();
  }
}

it("says of each class and each mover whether it can be used, and why not", () =>
  withController(async (client, settled) => {
    await client.create(dataMoverClasses, dataMoverClass("good", { mover: "tar", parameters: { level: 2 } }));
    await client.create(dataMoverClasses, dataMoverClass("wrong", { mover: "tar", parameters: { level: 0, speed: 1 } }));
    await client.create(dataMoverClasses, dataMoverClass("unknown", { mover: "tape" }));
    await client.create(dataMoverClasses, dataMoverClass("others", { mover: "tar", selector: { resources: ["secrets"] } }));
    await client.create(dataMovers, { ...mover({ level: { type: "integer" } }), metadata: { name: "mute" } });
    expect(await settled()).toEqual({
      tar: "True Valid true ",
      mute: 'False Invalid true spec.parameter "level" has no description',
      good: "True Valid true ",
      wrong: expect.stringMatching(
        /^False Invalid true spec\.parameters: "speed" is not a parameter of mover "tar"; spec\.parameters: parameter "level" must be >= 1 of mover "tar"$/,
      ),
      unknown: expect.stringMatching(/^False Invalid true spec\.mover is "tape", and there is no such mover; there is /),
      others: expect.stringContaining('spec.mover: mover "tar" does not move secrets'),
    });
  }));

it("looks at classes again when a mover is registered, changed or removed", () =>
  withController(async (client, settled) => {
    await client.create(dataMoverClasses, dataMoverClass("gold", { mover: "gold", parameters: { level: 2 } }));
    expect((await settled())["gold"]).toContain("False");
    await client.create(dataMovers, { ...mover(), metadata: { name: "gold" } });
    await settled();
    const [condition] = (await client.get(dataMoverClasses, { name: "gold" })).status?.conditions ?? [];
    expect(condition?.status).toBe("True");
    await client.patch(dataMovers, { name: "gold" }, "merge", { spec: { parameters: { properties: { level: { maximum: 1 } } } } });
    await settled();
    expect((await client.get(dataMoverClasses, { name: "gold" })).status?.conditions?.[0]?.message).toContain("must be <= 1");
    await client.delete(dataMovers, { name: "gold" });
    await settled();
    expect((await client.get(dataMoverClasses, { name: "gold" })).status?.conditions?.[0]?.message).toContain("there is no such mover");
  }));

it("writes nothing when nothing has changed", () =>
  withController(async (client, settled) => {
    await settled();
    const { resourceVersion } = (await client.get(dataMovers, { name: "tar" })).metadata;
    await client.create(dataMoverClasses, dataMoverClass("any", { mover: "tar" }));
    await settled();
    expect((await client.get(dataMovers, { name: "tar" })).metadata.resourceVersion).toBe(resourceVersion);
  }));
