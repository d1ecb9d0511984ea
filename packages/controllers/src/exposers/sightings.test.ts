import { DRAYAGE_ANNOTATIONS, type VolumeSnapshot, volumeSnapshots } from "@drayage/api";
import { VirtualClock } from "@drayage/base/testing";
import { type KubeClient, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { act, done, wait, waitAlone } from "../data-movement/work.ts";
import { Sightings } from "./sightings.ts";

const OURS = { namespace: "velero", name: "up" };
const movement = { metadata: { ...OURS, uid: "u1" } };
const pod: Pod = { metadata: { ...OURS }, spec: { containers: [] } };
const claim: PersistentVolumeClaim = { metadata: { ...OURS }, spec: {} };
const next = act("go on", async () => undefined);

let clock: VirtualClock;
let fake: FakeKubeClient;
let sightings: Sightings;
let cached: Map<string, Pod>;

beforeEach(() => {
  clock = new VirtualClock();
  fake = new FakeKubeClient({ clock });
  cached = new Map();
  sightings = new Sightings({ client: fake, clock, namespace: "velero", moverPods: { get: ({ name }) => cached.get(name) } });
});

const asked = (): number => fake.calls.filter(({ verb }) => verb === "get").length;
/** A look after which the chain goes on. */
const step = async <T>(take: (client: KubeClient) => Promise<T>, of = movement): Promise<T> => {
  let seen: T | undefined;
  await sightings.look(of, async (client) => {
    seen = await take(client);
    return next;
  });
  return seen as T;
};

describe("what is there", () => {
  it("is asked for once in a chain of steps, whosever it is", async () => {
    fake.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "p" });
    for (let look = 0; look < 3; look++) expect(await step((client) => client.find(storageClasses, { name: "csi" }))).toBeDefined();
    expect(asked()).toBe(1);
  });

  it("is as the answer to the last write says, until it has to be waited for", async () => {
    const made = await step((client) => client.create(persistentVolumeClaims, claim));
    fake.mutate(persistentVolumeClaims, OURS, ({ spec }) => {
      spec.volumeName = "v";
    });
    expect(await step((client) => client.find(persistentVolumeClaims, OURS))).toEqual(made);
    await sightings.look(movement, async () => wait("a volume"));
    expect((await step((client) => client.find(persistentVolumeClaims, OURS)))?.spec.volumeName).toBe("v");
  });

  it.each([
    ["a while", () => clock.advance(5_000)],
    ["a write that failed", () => expect(step((client) => client.create(pods, pod))).rejects.toThrow("injected")],
    ["a look that failed", () => expect(step(() => Promise.reject(new Error("no")))).rejects.toThrow("no")],
    ["its end", async () => void (await sightings.look(movement, async () => done))],
    ["the next epoch", () => Promise.resolve()],
  ])("is asked for again after %s", async (what, happen) => {
    fake.seed(persistentVolumeClaims, claim);
    fake.failNext({ verb: "create" }, "KUBE_UNAVAILABLE");
    await step((client) => client.find(persistentVolumeClaims, OURS));
    await happen();
    const of = what === "the next epoch" ? { metadata: { ...movement.metadata, annotations: { [DRAYAGE_ANNOTATIONS.epoch]: "1" } } } : movement;
    await step((client) => client.find(persistentVolumeClaims, OURS), of);
    expect(asked()).toBe(2);
  });

  it("is known from the cache where it is a mover's pod, but after its own write", async () => {
    cached.set("up", { ...pod, status: { phase: "Running" } });
    expect((await step((client) => client.find(pods, OURS)))?.status?.phase).toBe("Running");
    expect(asked()).toBe(0);
    fake.seed(pods, pod);
    await step((client) => client.delete(pods, OURS));
    expect((await step((client) => client.find(pods, OURS)))?.metadata.deletionTimestamp).toBeDefined();
  });

  it("is as it was seen over a wait that looks at what it awaits by itself", async () => {
    fake.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "p" });
    for (let look = 0; look < 3; look++)
      await sightings.look(movement, async (client) => waitAlone(String(await client.find(storageClasses, { name: "csi" })), 1));
    expect(asked()).toBe(1);
    await clock.advance(5_000);
    await step((client) => client.find(storageClasses, { name: "csi" }));
    expect(asked()).toBe(2);
  });

  it("is known from the cache where it is a VolumeSnapshot of the installation's namespace", async () => {
    const ready: VolumeSnapshot = { metadata: { ...OURS }, spec: { source: {} }, status: { readyToUse: true } };
    const snapshots = { get: ({ namespace }: { readonly namespace?: string | undefined }) => (namespace === OURS.namespace ? ready : undefined) };
    sightings = new Sightings({ client: fake, clock, namespace: "velero", moverPods: { get: () => undefined }, snapshots });
    expect(await step((client) => client.find(volumeSnapshots, OURS))).toBe(ready);
    expect(await step((client) => client.find(volumeSnapshots, { ...OURS, namespace: "shop" }))).toBeUndefined();
    expect(asked()).toBe(1);
  });

  it("is remembered for each movement by itself", async () => {
    fake.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "p" });
    for (const uid of ["u1", "u2"]) await step((client) => client.find(storageClasses, { name: "csi" }), { metadata: { ...OURS, uid } });
    expect(asked()).toBe(2);
  });
});

describe("what is not there", () => {
  it("is not asked for again over waits, for a while, if it is the movement's own", async () => {
    for (let look = 0; look < 5; look++) {
      await sightings.look(movement, async (client) => wait(String(await client.find(pods, OURS))));
      await sightings.look(movement, async (client) => wait(String(await client.find(pods, { ...OURS, name: "other" }))));
    }
    expect(asked()).toBe(1 + 5);
    await clock.advance(10_000);
    await step((client) => client.find(pods, OURS));
    expect(asked()).toBe(7);
  });

  it("is not asked for at all once a new movement was claimed, until making it is refused", async () => {
    fake.seed(pods, pod);
    sightings.begun(movement);
    expect(await step((client) => client.find(pods, OURS))).toBeUndefined();
    expect(asked()).toBe(0);
    await expect(step((client) => client.create(pods, pod))).rejects.toMatchObject({ code: "KUBE_ALREADY_EXISTS" });
    expect(await step((client) => client.find(pods, OURS))).toBeDefined();
  });

  it("is what was made since, though the movement had been claimed when it was new", async () => {
    sightings.begun(movement);
    await step((client) => client.create(persistentVolumeClaims, claim));
    await sightings.look(movement, async () => wait("a volume"));
    expect(await step((client) => client.find(persistentVolumeClaims, OURS))).toBeDefined();
  });

  it("is what nothing held when it was deleted; what is held is known to go, and its end is asked for", async () => {
    fake.seed(persistentVolumeClaims, { ...claim, metadata: { ...OURS, finalizers: ["kubernetes.io/pvc-protection"] } });
    fake.seed(secrets, { metadata: { ...OURS } });
    await step((client) => client.find(persistentVolumeClaims, OURS));
    await step((client) => client.delete(persistentVolumeClaims, OURS));
    await step((client) => client.find(secrets, OURS));
    await step((client) => client.delete(secrets, OURS));
    expect(await step((client) => client.find(secrets, OURS))).toBeUndefined();
    expect((await step((client) => client.find(persistentVolumeClaims, OURS)))?.metadata.deletionTimestamp).toBeDefined();
    expect(asked()).toBe(2);
    fake.mutate(persistentVolumeClaims, OURS, ({ metadata }) => delete metadata.finalizers);
    await expect(step((client) => client.get(persistentVolumeClaims, OURS))).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
    expect(asked()).toBe(3);
  });
});
