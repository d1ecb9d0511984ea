import { type BackupRepository, type BackupStorageLocation, backupRepositories, backupStorageLocations } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { memoryLogger, seededRandom, VirtualClock } from "@drayage/base/testing";
import { configMaps } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { decide, type Observed, startBackupRepositoryController } from "./backup-repository.ts";
import { ensureBackupRepository, findBackupRepository, repositoryFor, repositoryLabels } from "./ensure-backup-repository.ts";

const NS = "velero";
const REPO = { volumeNamespace: "notes", location: "default" };

function location(config: Record<string, string> = {}): BackupStorageLocation {
  return { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" }, config } };
}

function start(options: { ensure?: () => Promise<void>; configMapName?: string } = {}) {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const controller = startBackupRepositoryController({
    client,
    clock,
    random: seededRandom(1),
    logger: memoryLogger(),
    namespace: NS,
    repositories: { ensure: options.ensure ?? (async () => undefined), forget: async () => undefined, defaultMaintenanceFrequencySeconds: 3600 },
    ...(options.configMapName === undefined ? {} : { configMapName: options.configMapName }),
  });
  const ensure = async (): Promise<BackupRepository> => {
    const ready = ensureBackupRepository({ client, namespace: NS, clock }, REPO, { timeoutMs: 600_000 });
    ready.catch(() => undefined);
    await clock.advance(5_000);
    return ready;
  };
  return { clock, client, controller, ensure };
}

describe("a BackupRepository", () => {
  it("is created under Velero's name and labels, given its defaults and made ready", async () => {
    const { client, controller, ensure } = start();
    client.seed(backupStorageLocations, location());
    const repository = await ensure();
    await controller.stop();
    expect(repository.metadata.name).toBe("notes-default-kopia");
    expect(repository.spec).toEqual({ backupStorageLocation: "default", maintenanceFrequency: "1h0m0s", repositoryType: "kopia", volumeNamespace: "notes" });
    expect(repository.status).toEqual({ phase: "Ready", lastMaintenanceTime: "2026-01-01T00:00:00Z" });
    expect(await findBackupRepository({ client, namespace: NS }, REPO)).toBeDefined();
  });

  it("says why it is not ready, and is ready once the cause is gone", async () => {
    let broken = true;
    const { clock, client, controller, ensure } = start({
      ensure: async () => {
        if (broken) throw new DrayError("REPO_WRONG_PASSWORD", 'Cannot open repository "s3://b/kopia/notes/": password does not match');
      },
    });
    client.seed(backupStorageLocations, location());
    await expect(ensure()).rejects.toMatchObject({ code: "REPO_NOT_FOUND", message: expect.stringContaining("password does not match") });
    expect(client.all(backupRepositories)[0]?.status?.phase).toBe("NotReady");
    broken = false;
    await clock.advance(6 * 60_000);
    await controller.stop();
    expect(client.all(backupRepositories)[0]?.status).toMatchObject({ phase: "Ready" });
    expect(client.all(backupRepositories)[0]?.status?.message).toBeUndefined();
  });

  it("is tried again at once for a movement that is younger than the last try, and once for each", async () => {
    let broken = true;
    let tries = 0;
    const { clock, client, controller, ensure } = start({
      ensure: async () => {
        tries++;
        if (broken) throw new DrayError("REPO_WRONG_PASSWORD", "password does not match");
      },
    });
    client.seed(backupStorageLocations, location());
    await expect(ensure()).rejects.toThrow("password does not match");
    /** Steps of a movement towards the repository, until it has it or has failed. */
    const want = async (createdAt: string): Promise<string> => {
      for (let step = 0; step < 10; step++) {
        const next = await repositoryFor({ client, namespace: NS }, REPO, createdAt);
        if (!("state" in next)) return "ready";
        if (next.state === "failed") return next.message;
        if (next.state === "act") await next.run();
        await clock.advance(500);
      }
      return "waits";
    };
    expect(await want("2025-12-31T23:59:59Z")).toMatch(/password does not match/);
    expect(tries).toBe(1);
    // In the second in which the repository was made: before or after it was tried.
    for (const createdAt of ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]) expect(await want(createdAt)).toMatch(/password does not match/);
    expect(tries).toBe(2);
    expect(await want("2026-01-01T00:00:20Z")).toMatch(/password does not match/);
    expect(await want("2026-01-01T00:00:20Z")).toMatch(/password does not match/);
    expect(tries).toBe(3);
    broken = false;
    expect(await want("2026-01-01T00:00:30Z")).toBe("ready");
    await controller.stop();
  });

  it("of another program's server is not asked to be tried again", async () => {
    const client = new FakeKubeClient({ clock: new VirtualClock() });
    const key = { namespace: NS, name: "notes-default-kopia" };
    client.seed(backupRepositories, {
      metadata: { ...key, labels: repositoryLabels(REPO) },
      spec: { backupStorageLocation: "default", maintenanceFrequency: "1h", repositoryType: "kopia", volumeNamespace: "notes" },
      status: { phase: "NotReady", message: "no" },
    });
    expect(await repositoryFor({ client, namespace: NS }, REPO, "2027-01-01T00:00:00Z")).toMatchObject({ state: "failed" });
  });

  it("is connected again when its location changes", async () => {
    let calls = 0;
    const { clock, client, controller, ensure } = start({
      ensure: async () => {
        calls++;
      },
    });
    client.seed(backupStorageLocations, location());
    await ensure();
    const phases: (string | undefined)[] = [];
    client.react(backupRepositories, (_before, after) => phases.push(after?.status?.phase));
    client.seed(backupStorageLocations, location({ region: "elsewhere" }));
    await clock.advance(10_000);
    await controller.stop();
    expect(phases).toEqual(["NotReady", "Ready"]);
    expect(calls).toBe(2);
  });

  it("is not ready while its location is gone", async () => {
    const { clock, client, controller, ensure } = start();
    client.seed(backupStorageLocations, location());
    await ensure();
    client.discard(backupStorageLocations, { namespace: NS, name: "default" });
    await clock.advance(1_000);
    await controller.stop();
    expect(client.all(backupRepositories)[0]?.status).toMatchObject({ phase: "NotReady", message: "backup storage location is not there" });
  });

  it("takes the settings of new repositories from the ConfigMap", async () => {
    const { client, controller, ensure } = start({ configMapName: "settings" });
    client.seed(backupStorageLocations, location());
    client.seed(configMaps, {
      metadata: { namespace: NS, name: "settings" },
      data: { kopia: '{"cacheLimitMB":2048,"fullMaintenanceInterval":"fastGC","other":1}' },
    });
    const repository = await ensure();
    await controller.stop();
    expect(repository.spec.repositoryConfig).toEqual({ cacheLimitMB: "2048", fullMaintenanceInterval: "fastGC" });
  });

  it("is not waited for longer than asked", async () => {
    const clock = new VirtualClock();
    const client = new FakeKubeClient({ clock });
    const ready = ensureBackupRepository({ client, namespace: NS, clock }, REPO, { timeoutMs: 3_000 });
    const outcome = expect(ready).rejects.toMatchObject({ code: "TIMED_OUT" });
    await clock.advance(5_000);
    await outcome;
  });
});

describe("decide() of a BackupRepository", () => {
  const observed = (changes: Partial<Observed>): Observed => ({
    phase: "New",
    ours: true,
    hasFrequency: true,
    location: "present",
    locationChanged: false,
    triedForMs: undefined,
    wanted: false,
    ...changes,
  });
  it.each([
    ["leaves restic repositories alone", { ours: false }, "nothing"],
    ["gives defaults first", { hasFrequency: false }, "setDefaults"],
    ["connects a new one", {}, "connect"],
    ["leaves a ready one alone", { phase: "Ready" as const }, "nothing"],
    ["retries a failed one after five minutes", { phase: "NotReady" as const, triedForMs: 300_000 }, "connect"],
    ["does not retry it before", { phase: "NotReady" as const, triedForMs: 299_999 }, "nothing"],
    ["retries it at once when somebody wants it", { phase: "NotReady" as const, triedForMs: 0, wanted: true }, "connect"],
    ["answers who wants it when its location is gone", { phase: "NotReady" as const, triedForMs: 0, wanted: true, location: "absent" as const }, "setNotReady"],
  ])("%s", (_title, changes, wanted) => {
    expect(decide(observed(changes)).do).toBe(wanted);
  });
});
