import { type BackupRepository, backupRepositories, backupStorageLocations } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { type Controller, configMaps, type Job, jobs, pods, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startRepositoryMaintenanceController } from "./maintenance-controller.ts";
import { buildMaintenanceJob, maintenanceConfigFor } from "./maintenance-job.ts";

const NS = "velero";
const HOUR_MS = 3_600_000;
const key = { namespace: NS, name: "notes-default-kopia" };

let clock: VirtualClock;
let client: FakeKubeClient;
let controller: Controller;
const start = (): Controller =>
  startRepositoryMaintenanceController({
    client,
    clock,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NS,
    image: "drayage/dray:test",
    serviceAccount: "drayage-mover",
    configMapName: "maintenance",
  });

beforeEach(() => {
  clock = new VirtualClock(Date.parse("2026-11-28T00:00:00Z"));
  client = new FakeKubeClient({ clock });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": "cA==" } });
  seedLocation();
  client.seed(backupRepositories, {
    metadata: key,
    spec: { backupStorageLocation: "default", maintenanceFrequency: "1h0m0s", repositoryType: "kopia", volumeNamespace: "notes" },
    status: { phase: "Ready", lastMaintenanceTime: "2026-11-28T00:00:00Z" },
  });
  controller = start();
});
afterEach(() => controller.stop());

function seedLocation(accessMode: "ReadWrite" | "ReadOnly" = "ReadWrite"): void {
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" }, accessMode } });
}
const repository = (): BackupRepository => {
  const found = client.peek(backupRepositories, key);
  if (found === undefined) throw new Error("it is gone");
  return found;
};
const running = (): Job[] => client.all(jobs).filter(({ status }) => (status?.conditions ?? []).length === 0);
function end(type: "Complete" | "Failed", message?: string): void {
  for (const job of running()) {
    const at = new Date(clock.nowMs()).toISOString().replace(".000Z", "Z");
    const name = job.metadata.name ?? "";
    if (message !== undefined)
      client.seed(pods, {
        metadata: { namespace: NS, name: `${name}-x`, labels: { "job-name": name } },
        spec: { containers: [] },
        status: { phase: "Failed", containerStatuses: [{ name: "c", ready: false, restartCount: 0, state: { terminated: { exitCode: 1, message } } }] },
      });
    client.mutate(jobs, { namespace: NS, name }, (current) => {
      current.status = {
        ...current.status,
        startTime: current.metadata.creationTimestamp ?? at,
        ...(type === "Complete" ? { completionTime: at } : {}),
        conditions: [{ type, status: "True", lastTransitionTime: at }],
      };
    });
  }
}

describe("a repository", () => {
  it("is maintained by a Job when it is due, one at a time, with its Secret and nothing else", async () => {
    await clock.advance(0.9 * HOUR_MS);
    expect(client.all(jobs)).toEqual([]);
    await clock.advance(0.1 * HOUR_MS + 1_000);
    const [job] = running();
    const name = job?.metadata.name ?? "";
    expect(name).toMatch(/^notes-default-kopia-maintain-job-\d+$/);
    expect(job).toMatchObject({
      metadata: { labels: { "velero.io/repo-name": "notes-default-kopia" } },
      spec: {
        backoffLimit: 0,
        template: {
          spec: {
            serviceAccountName: "drayage-mover",
            automountServiceAccountToken: false,
            containers: [
              {
                image: "drayage/dray:test",
                command: ["/velero"],
                args: ["repo-maintenance", "--repo-name=notes", "--repo-type=kopia", "--backup-storage-location=default"],
              },
            ],
          },
        },
      },
    });
    expect(client.peek(secrets, { namespace: NS, name })?.metadata.ownerReferences).toMatchObject([{ kind: "Job", name }]);
    await clock.advance(5 * HOUR_MS);
    expect(client.all(jobs)).toHaveLength(1);
    end("Complete");
    await clock.advance(1_000);
    expect(repository().status).toMatchObject({
      lastMaintenanceTime: "2026-11-28T06:00:01Z",
      recentMaintenance: [{ result: "Succeeded", startTimestamp: "2026-11-28T01:00:00Z", completeTimestamp: "2026-11-28T06:00:01Z" }],
    });
  });

  it("says why a maintenance failed, and is tried again when the next one is due", async () => {
    await clock.advance(HOUR_MS + 1_000);
    end("Failed", "lots of text before Repo maintenance error: the bucket is full");
    await clock.advance(1_000);
    expect(repository().status?.recentMaintenance).toMatchObject([{ result: "Failed", message: "the bucket is full" }]);
    expect(repository().status?.lastMaintenanceTime).toBe("2026-11-28T00:00:00Z");
    await clock.advance(0.5 * HOUR_MS);
    expect(client.all(jobs)).toHaveLength(1);
    await clock.advance(0.5 * HOUR_MS);
    expect(client.all(jobs)).toHaveLength(2);
  });

  it("keeps the latest Jobs and a bounded history", async () => {
    client.seed(configMaps, { metadata: { namespace: NS, name: "maintenance" }, data: { global: '{"keepLatestMaintenanceJobs": 2}' } });
    for (let round = 0; round < 30; round++) {
      await clock.advance(HOUR_MS + 2_000);
      end("Complete");
      await clock.advance(2_000);
    }
    expect(client.all(jobs)).toHaveLength(2);
    expect(repository().status?.recentMaintenance).toHaveLength(25);
  });

  it("whose location is read-only, or that is not ready, is left alone", async () => {
    seedLocation("ReadOnly");
    await clock.advance(3 * HOUR_MS);
    expect(client.all(jobs)).toEqual([]);
    client.mutate(backupRepositories, key, (current) => {
      current.status = { ...current.status, phase: "NotReady" };
    });
    seedLocation();
    await clock.advance(3 * HOUR_MS);
    expect(client.all(jobs)).toEqual([]);
  });

  it("gets the Secret of its Job also when the server ended in between, and the end of a Job that ended meanwhile", async () => {
    client.intercept = ({ verb, resource }) => {
      if (verb === "create" && resource === "secrets") throw new DrayError("KUBE_UNAVAILABLE", "the server is gone");
    };
    await clock.advance(HOUR_MS + 1_000);
    await controller.stop();
    const name = running()[0]?.metadata.name ?? "";
    expect(client.peek(secrets, { namespace: NS, name })).toBeUndefined();
    client.intercept = undefined;
    controller = start();
    await clock.advance(1_000);
    expect(client.peek(secrets, { namespace: NS, name })).toBeDefined();
    await controller.stop();
    end("Complete");
    controller = start();
    await clock.advance(1_000);
    expect(repository().status?.recentMaintenance).toHaveLength(1);
    expect(client.all(jobs)).toHaveLength(1);
  });
});

describe("the settings of maintenance", () => {
  const of = (data: Record<string, string>) => maintenanceConfigFor({ metadata: { name: "m" }, data }, repository());

  it("are those of the repository where it has some, and else those of all; three of them are of all only", () => {
    const config = of({
      global: JSON.stringify({ priorityClassName: "low", keepLatestMaintenanceJobs: 5, podLabels: { a: "b" }, podResources: { cpuRequest: "1" } }),
      "notes-default-kopia": JSON.stringify({
        priorityClassName: "high",
        podResources: { memoryLimit: "1Gi" },
        loadAffinity: [{ nodeSelector: { matchLabels: { disk: "ssd" } } }],
      }),
    });
    expect(config).toMatchObject({ priorityClassName: "low", keepLatestMaintenanceJobs: 5, podLabels: { a: "b" }, podResources: { memoryLimit: "1Gi" } });
    const job = buildMaintenanceJob({ namespace: NS, repository: repository(), image: "i", serviceAccount: "s", config, nowMs: 7 });
    expect(job.spec.template).toMatchObject({
      metadata: { labels: { a: "b", "velero.io/repo-name": "notes-default-kopia" } },
      spec: { priorityClassName: "low", containers: [{ resources: { limits: { memory: "1Gi" } } }] },
    });
    expect(JSON.stringify(job.spec.template.spec.affinity)).toContain('{"key":"disk","operator":"In","values":["ssd"]}');
  });

  it("keep three Jobs where nothing is said, and are refused where they are no JSON object", () => {
    expect(maintenanceConfigFor(undefined, repository()).keepLatestMaintenanceJobs).toBe(3);
    expect(() => of({ global: "{" })).toThrow('key "global" of ConfigMap "m": its value is not JSON');
    expect(() => of({ global: "[]" })).toThrow("its value is not an object");
    expect(() => of({ global: '{"loadAffinity":{}}' })).toThrow('key "global" of ConfigMap "m": loadAffinity is {}, a list is wanted');
  });

  it("reads its Secret without being root", () => {
    const job = buildMaintenanceJob({ namespace: NS, repository: repository(), image: "i", serviceAccount: "s", config: {}, nowMs: 7 });
    const { securityContext, volumes, containers } = job.spec.template.spec;
    expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65_532, fsGroup: 65_532 });
    expect(volumes?.find(({ name }) => name === "mover-secret")).toMatchObject({ secret: { defaultMode: 0o440 } });
    expect(containers[0]?.securityContext).toEqual({ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } });
  });

  it("get their image and find their store as the server does", () => {
    const inherited = { imagePullSecrets: [{ name: "mirror" }], dnsPolicy: "None", env: [{ name: "HTTPS_PROXY", value: "http://proxy:3128" }] };
    const { spec } = buildMaintenanceJob({ namespace: NS, repository: repository(), image: "i", inherited, serviceAccount: "s", config: {}, nowMs: 7 }).spec
      .template;
    expect(spec).toMatchObject({ imagePullSecrets: inherited.imagePullSecrets, dnsPolicy: "None" });
    expect(spec.containers[0]?.env).toEqual(expect.arrayContaining(inherited.env));
  });

  it("give a long repository a short name", () => {
    const long = { ...repository(), metadata: { ...repository().metadata, name: "n".repeat(70) } };
    expect(buildMaintenanceJob({ namespace: NS, repository: long, image: "i", serviceAccount: "s", config: {}, nowMs: 1764288000000 }).metadata.name).toBe(
      "repo-maintain-job-1764288000000",
    );
  });
});
