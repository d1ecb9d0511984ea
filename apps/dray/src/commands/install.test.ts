import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backupStorageLocations, cloudStorages, FINALIZERS, restores, VSM_FINALIZER, volumeSnapshotRestores } from "@drayage/api";
import { decodeRecoveryFile } from "@drayage/install";
import { customResourceDefinitions, daemonSets, deployments, namespaces, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeInstallation } from "../cluster/installation.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { install } from "./install.ts";
import { manifestsToRemove } from "./uninstall.ts";

const NAMESPACE = "velero";
const PASSWORD = "0123456789abcdef";

let folder: string;
let client: FakeKubeClient;
let terminal: RecordingTerminal;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-install-"));
  terminal = new RecordingTerminal({ cwd: folder });
  client = new FakeKubeClient({ clock: terminal.clock });
  // The API server's part: definitions are served as soon as they are there.
  client.react(customResourceDefinitions, (_before, after) => {
    if (after === undefined || after.status?.conditions !== undefined) return;
    client.mutate(customResourceDefinitions, { name: after.metadata.name ?? "" }, (crd) => {
      crd.status = { conditions: [{ type: "Established", status: "True" }] };
    });
  });
});
afterEach(() => rmSync(folder, { recursive: true }));

const usual = { locationName: "default", secret: true, useNodeAgent: true } as const;
type Options = Parameters<typeof install>[0];
const run = (options: Partial<Options>): Promise<void> => install({ ...usual, ...options }, { client, namespace: NAMESPACE }, terminal);
const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
const recoveryOf = (name: string) => decodeRecoveryFile(readFileSync(join(folder, name), "utf8"));
const textOf = (name: string, entry: string): string =>
  Buffer.from(client.peek(secrets, { namespace: NAMESPACE, name })?.data?.[entry] ?? "", "base64").toString("utf8");
const passwordOf = (): string => textOf("velero-repo-credentials", "repository-password");
const seedPassword = (password: string) =>
  client.seed(secrets, {
    metadata: { namespace: NAMESPACE, name: "velero-repo-credentials" },
    data: { "repository-password": Buffer.from(password).toString("base64") },
  });
/** Nothing was created, and nothing is left in the folder but what the test put there. */
const expectNothingDone = (): void => {
  expect(client.calls.filter(({ verb }) => !["get", "list"].includes(verb))).toEqual([]);
  expect(existsSync(join(folder, "recovery.json"))).toBe(false);
};

describe("a new installation", () => {
  it("insists on a place for the password that outlives the cluster", async () => {
    await expect(run({})).rejects.toMatchObject({ code: "USAGE", hint: expect.stringContaining("--recovery-file FILE") });
    expectNothingDone();
  });

  it("writes the recovery file before anything is created with its password", async () => {
    let seen: string | undefined;
    client.intercept = ({ verb }) => {
      if (verb !== "get" && verb !== "list") seen ??= recoveryOf("recovery.json").repositoryPassword;
    };
    await run({
      recoveryFile: "recovery.json",
      provider: "aws",
      bucket: "b",
      prefix: "p",
      secretFile: write("keys", "[default]\n"),
      backupLocationConfig: ["region=r"],
    });
    expect(seen).toMatch(/^[0-9a-f]{40}$/);
    expect(passwordOf()).toBe(seen);
    expect(recoveryOf("recovery.json").locations).toEqual([{ name: "default", provider: "aws", bucket: "b", prefix: "p", config: { region: "r" } }]);
    expect(statSync(join(folder, "recovery.json")).mode & 0o777).toBe(0o600);
    expect(terminal.text).toContain(`Recovery file written to ${join(folder, "recovery.json")}.`);
    expect(terminal.text + terminal.errors).not.toContain(seen);
    expect(client.peek(deployments, { namespace: NAMESPACE, name: "drayage" })).toBeDefined();
  });

  it("creates nothing when the recovery file cannot be written", async () => {
    await expect(run({ recoveryFile: "no/such/folder.json" })).rejects.toMatchObject({ code: "PATH_IO" });
    expectNothingDone();
  });

  it("keeps the recovery file when the cluster fails half way, and goes on with the same password", async () => {
    client.failNext({ resource: "deployments.apps" }, "KUBE_UNAVAILABLE");
    await expect(run({ recoveryFile: "recovery.json" })).rejects.toMatchObject({ code: "KUBE_UNAVAILABLE" });
    const { repositoryPassword } = recoveryOf("recovery.json");
    await run({ recoveryFile: "recovery.json" });
    expect(passwordOf()).toBe(repositoryPassword);
    expect(recoveryOf("recovery.json").repositoryPassword).toBe(repositoryPassword);
  });

  it.each([
    ["a provider without a bucket", { provider: "aws", recoveryFile: "recovery.json" }, "USAGE", "--provider and --bucket go together"],
    ["a bucket without its keys", { provider: "aws", bucket: "b", recoveryFile: "recovery.json" }, "USAGE", 'nothing says how to reach bucket "b"'],
    ["a provider that is not known", { provider: "nope", bucket: "b", recoveryFile: "recovery.json" }, "NOT_SUPPORTED", 'provider "nope" is not known'],
    ["keys that are not there", { secretFile: "none", recoveryFile: "recovery.json" }, "PATH_NOT_FOUND", 'Cannot read --secret-file "none"'],
    ["a CA that is not there", { provider: "fs", bucket: "b", cacert: "none", recoveryFile: "recovery.json" }, "PATH_NOT_FOUND", 'Cannot read --cacert "none"'],
    ["a password that is not there", { repositoryPasswordFile: "none" }, "PATH_NOT_FOUND", 'Cannot read --repository-password-file "none"'],
    ["a duration that is none", { recoveryFile: "recovery.json", timeout: "soon" }, "USAGE", 'Cannot read duration "soon"'],
  ] as const)("refuses %s before anything is written", async (_what, options, code, message) => {
    await expect(run(options)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
    expectNothingDone();
  });

  it("takes a bucket without keys when that is said", async () => {
    await run({ provider: "aws", bucket: "b", recoveryFile: "recovery.json", secret: false });
    expect(client.peek(backupStorageLocations, { namespace: NAMESPACE, name: "default" })?.spec.objectStorage.bucket).toBe("b");
  });

  it("tells node-agents where the kubelet's folder is, and the operator that it cannot be told", async () => {
    await run({ recoveryFile: "recovery.json", kubeletRootDir: "/var/lib/k0s/kubelet" });
    const args = client.peek(daemonSets, { namespace: NAMESPACE, name: "node-agent" })?.spec.template.spec.containers[0]?.args;
    expect(args).toContain("--kubelet-root-dir=/var/lib/k0s/kubelet");
    await expect(run({ operator: true, kubeletRootDir: "/x" })).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringContaining("--kubelet-root-dir"),
    });
  });

  it("refuses the password that everybody knows, unless a bucket has it already", async () => {
    const repositoryPasswordFile = write("password", "static-passw0rd\n");
    await expect(run({ repositoryPasswordFile })).rejects.toMatchObject({ code: "VALIDATION_FAILED", hint: expect.stringContaining("--adopt") });
    expectNothingDone();
    await run({ repositoryPasswordFile, adopt: true });
    expect(passwordOf()).toBe("static-passw0rd");
  });

  it("refuses an empty password", async () => {
    await expect(run({ repositoryPasswordFile: write("password", " \n") })).rejects.toMatchObject({ code: "VALIDATION_FAILED" });
    expectNothingDone();
  });

  it("does not begin in a namespace that is going away", async () => {
    client.seed(namespaces, { metadata: { name: NAMESPACE, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["x/y"] } });
    await expect(run({ recoveryFile: "recovery.json" })).rejects.toMatchObject({
      code: "KUBE_CONFLICT",
      message: expect.stringContaining("it is being deleted"),
    });
    expectNothingDone();
  });

  it("prints manifests that can be applied without replacing a password", async () => {
    await run({ provider: "aws", bucket: "b", secretFile: write("keys", "[default]\nKEY"), dryRun: true, recoveryFile: "recovery.json" });
    expect(terminal.text).toContain("kind: Deployment");
    expect(terminal.text).not.toMatch(/kind: Secret\n|KEY|repository-password/);
    expect(terminal.errors).toContain("Secrets velero-repo-credentials and cloud-credentials");
    expect(client.calls).toEqual([]);
    expectNothingDone();
  });
});

describe("an installation from a recovery file", () => {
  const recovery = (over: object = {}): string =>
    write(
      "kept.json",
      JSON.stringify({
        schema: 1,
        createdAt: "2026-01-01T00:00:00Z",
        repositoryPassword: PASSWORD,
        locations: [
          { name: "main", provider: "aws", bucket: "b", config: { region: "r" } },
          { name: "far", provider: "fs", bucket: "c" },
        ],
        ...over,
      }),
    );

  it("brings back the password and every location", async () => {
    const before = readFileSync(join(folder, recovery()), "utf8");
    await run({ recoveryFile: "kept.json", secretFile: write("keys", "[default]\n") });
    expect(passwordOf()).toBe(PASSWORD);
    const locations = client.all(backupStorageLocations).map(({ metadata, spec }) => [metadata.name, spec.objectStorage.bucket, spec.default]);
    expect(locations).toEqual([
      ["far", "c", false],
      ["main", "b", true],
    ]);
    expect(JSON.parse(readFileSync(join(folder, "kept.json"), "utf8"))).toEqual(JSON.parse(before));
  });

  it("refuses a Secret that holds another password, and touches neither", async () => {
    seedPassword("another");
    await expect(run({ recoveryFile: recovery(), secret: false })).rejects.toMatchObject({
      code: "VALIDATION_FAILED",
      message: expect.stringContaining("hold different repository passwords"),
    });
    expect(passwordOf()).toBe("another");
    expect(recoveryOf("kept.json").repositoryPassword).toBe(PASSWORD);
    expectNothingDone();
  });

  it.each([
    ["is not JSON", "nothing", 'kept.json": it is not JSON'],
    ["is of a later program", JSON.stringify({ schema: 2 }), 'kept.json": schema is 2'],
    ["has no password", JSON.stringify({ schema: 1, createdAt: "x", locations: [] }), "repositoryPassword is missing"],
  ])("refuses a file that %s", async (_what, text, message) => {
    await expect(run({ recoveryFile: write("kept.json", text) })).rejects.toMatchObject({
      code: "VALIDATION_FAILED",
      message: expect.stringContaining(message),
    });
    expectNothingDone();
  });
});

describe("an installation that is there", () => {
  it("keeps its password and its keys, and puts both password and locations into a new recovery file", async () => {
    await run({ recoveryFile: "first.json", provider: "aws", bucket: "b", secretFile: write("keys", "[default]\nKEY\n"), backupLocationConfig: ["region=r"] });
    const password = passwordOf();
    await run({ recoveryFile: "recovery.json" });
    expect(passwordOf()).toBe(password);
    expect(textOf("cloud-credentials", "cloud")).toBe("[default]\nKEY\n");
    expect(recoveryOf("recovery.json")).toMatchObject({
      repositoryPassword: password,
      locations: [{ name: "default", provider: "aws", bucket: "b", config: { region: "r" } }],
    });
  });

  it("brings a recovery file up to date with a location that came later", async () => {
    const keys = write("keys", "[default]\n");
    await run({ recoveryFile: "recovery.json" });
    const { repositoryPassword } = recoveryOf("recovery.json");
    await run({ recoveryFile: "recovery.json", provider: "aws", bucket: "b", secretFile: keys, locationName: "east" });
    expect(recoveryOf("recovery.json")).toMatchObject({ repositoryPassword, locations: [{ name: "east", bucket: "b" }] });
    expect(terminal.text).toContain('now names "east"');
  });

  it("is removed with all that waits for a server that is gone, and its bucket is not asked", async () => {
    await run({ recoveryFile: "recovery.json" });
    const manifests = [{ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }];
    client.mutate(namespaces, { name: NAMESPACE }, (namespace) => {
      namespace.metadata.finalizers = ["example.com/slow"];
    });
    const restore = { namespace: NAMESPACE, name: "back" };
    client.seed(restores, {
      metadata: { ...restore, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [FINALIZERS.restoreFiles, "example.com/other"] },
      spec: { backupName: "first" },
    });
    // Nobody would delete its bucket any more.
    const storage = { namespace: NAMESPACE, name: "bucket" };
    client.seed(cloudStorages, {
      metadata: { ...storage, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [FINALIZERS.bucket, "example.com/other"] },
      spec: { name: "bucket", provider: "aws", creationSecret: { key: "cloud" } },
    });
    // In the namespaces of applications, which are not removed; one of them is another installation's.
    for (const protectedNamespace of [NAMESPACE, "openshift-adp"]) {
      client.seed(volumeSnapshotRestores, {
        metadata: { namespace: "shop", name: `of-${protectedNamespace}`, finalizers: [VSM_FINALIZER, "x/y"] },
        spec: { protectedNamespace },
      });
    }
    const removing = removeInstallation(client, manifests, { withKinds: false, limitMs: 10_000 }, terminal);
    removing.catch(() => undefined);
    for (let at = 0; at < 20; at++) await terminal.clock.advance(200);
    expect(client.peek(restores, restore)?.metadata.finalizers).toEqual(["example.com/other"]);
    expect(client.peek(cloudStorages, storage)?.metadata.finalizers).toEqual(["example.com/other"]);
    expect(client.peek(volumeSnapshotRestores, { namespace: "shop", name: `of-${NAMESPACE}` })?.metadata.finalizers).toEqual(["x/y"]);
    expect(client.peek(volumeSnapshotRestores, { namespace: "shop", name: "of-openshift-adp" })?.metadata.finalizers).toEqual([VSM_FINALIZER, "x/y"]);
    client.mutate(namespaces, { name: NAMESPACE }, (namespace) => {
      namespace.metadata.finalizers = [];
    });
    for (let at = 0; at < 5; at++) await terminal.clock.advance(200);
    expect(await removing).toEqual([`Namespace ${NAMESPACE}`]);
  });

  it("says what stays when it cannot be removed in time", async () => {
    client.seed(namespaces, { metadata: { name: NAMESPACE, finalizers: ["example.com/never"] } });
    const removing = removeInstallation(
      client,
      [{ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }],
      { withKinds: false, limitMs: 1_000 },
      terminal,
    );
    removing.catch(() => undefined);
    for (let at = 0; at < 10; at++) await terminal.clock.advance(200);
    await expect(removing).rejects.toMatchObject({ code: "TIMED_OUT", message: expect.stringContaining(`Namespace ${NAMESPACE}`) });
  });
});

describe("an installation beside Velero", () => {
  const seedVelero = () =>
    client.seed(customResourceDefinitions, {
      metadata: { name: "datauploads.velero.io" },
      spec: { group: "velero.io", names: { kind: "DataUpload", plural: "datauploads" }, scope: "Namespaced", versions: [] },
    });
  const seedDaemonSet = (name: string, labels: Record<string, string>) =>
    client.seed(daemonSets, { metadata: { namespace: NAMESPACE, name, labels }, spec: { selector: {}, template: { metadata: {}, spec: { containers: [] } } } });
  const namesOf = (): (string | undefined)[] => client.all(daemonSets).map(({ metadata }) => metadata.name);

  it("brings node-agents under a name of their own, and neither server, location nor password", async () => {
    seedVelero();
    seedDaemonSet("node-agent", { component: "velero" });
    await run({ guest: true });
    expect(namesOf().sort()).toEqual(["drayage-node-agent", "node-agent"]);
    expect(client.all(deployments)).toEqual([]);
    expect(client.all(secrets)).toEqual([]);
    expect(client.all(backupStorageLocations)).toEqual([]);
  });

  it("takes the name of Velero's node-agent when it takes its work", async () => {
    seedVelero();
    await run({ guest: true, claimBuiltin: true });
    expect(client.all(daemonSets)[0]?.spec.template.spec.containers[0]?.args).toEqual([
      "node-agent",
      "server",
      "--guest",
      "--claim-builtin",
      "--daemonset-name=node-agent",
    ]);
    expect(namesOf()).toEqual(["node-agent"]);
  });

  it.each<[string, () => void, Partial<Options>, RegExp]>([
    ["no Velero", () => undefined, { guest: true }, /there is no Velero with data movement in this cluster/],
    [
      "a node-agent of Velero whose work is taken",
      () => [seedVelero(), seedDaemonSet("node-agent", { component: "velero" })],
      { guest: true, claimBuiltin: true },
      /still runs/,
    ],
    [
      "node-agents of ours that take other work",
      () => [seedVelero(), seedDaemonSet("drayage-node-agent", { "app.kubernetes.io/name": "drayage" })],
      { guest: true, claimBuiltin: true },
      /"drayage-node-agent" of Drayage runs already/,
    ],
    ["a location of its own", seedVelero, { guest: true, bucket: "b" }, /with --bucket: Velero keeps locations and passwords/],
    ["no guest at all", () => undefined, { claimBuiltin: true }, /--claim-builtin alone/],
  ])("refuses %s", async (_what, seed, options, message) => {
    seed();
    const before = client.all(daemonSets).length;
    await expect(run(options)).rejects.toThrow(message);
    expect(client.all(daemonSets)).toHaveLength(before);
  });

  it("is removed without anything of Velero's: its namespace, locations and passwords stay", async () => {
    seedVelero();
    client.seed(namespaces, { metadata: { name: NAMESPACE } });
    client.seed(deployments, {
      metadata: { namespace: NAMESPACE, name: "velero" },
      spec: { selector: {}, template: { metadata: {}, spec: { containers: [] } } },
    });
    seedDaemonSet("node-agent", { component: "velero" });
    seedPassword(PASSWORD);
    await run({ guest: true });
    const manifests = await manifestsToRemove(client, NAMESPACE, terminal.signal);
    const removed = await removeInstallation(client, manifests, { withKinds: true, limitMs: 10_000 }, terminal);
    expect(removed).toContain(`DaemonSet ${NAMESPACE}/drayage-node-agent`);
    expect(namesOf()).toEqual(["node-agent"]);
    expect(client.peek(namespaces, { name: NAMESPACE })).toBeDefined();
    expect(client.peek(deployments, { namespace: NAMESPACE, name: "velero" })).toBeDefined();
    expect(passwordOf()).toBe(PASSWORD);
    expect(client.peek(customResourceDefinitions, { name: "datauploads.velero.io" })).toBeDefined();
  });

  it("leaves the registration of the built-in mover to another installation of the cluster, and takes it along when it is the last", async () => {
    const kindsToRemove = async (): Promise<string[]> => (await manifestsToRemove(client, NAMESPACE, terminal.signal)).map(({ kind }) => kind);
    const seedServer = (namespace: string): void =>
      void client.seed(deployments, {
        metadata: { namespace, name: "drayage", labels: { "app.kubernetes.io/name": "drayage" } },
        spec: { selector: {}, template: { metadata: {}, spec: { containers: [] } } },
      });
    seedServer(NAMESPACE);
    expect(await kindsToRemove()).toContain("DataMover");
    seedServer("another");
    expect(await kindsToRemove()).not.toContain("DataMover");
    client.discard(deployments, { namespace: "another", name: "drayage" });
    expect(await kindsToRemove()).toContain("DataMover");
    // As an operator names and labels its server.
    client.seed(deployments, {
      metadata: { namespace: "another", name: "velero", labels: { "app.kubernetes.io/managed-by": "drayage-operator" } },
      spec: { selector: {}, template: { metadata: {}, spec: { containers: [] } } },
    });
    expect(await kindsToRemove()).not.toContain("DataMover");
  });

  it("never takes Velero's namespace away, also where nothing of Drayage is", async () => {
    client.seed(deployments, {
      metadata: { namespace: NAMESPACE, name: "velero" },
      spec: { selector: {}, template: { metadata: {}, spec: { containers: [] } } },
    });
    const kinds = (await manifestsToRemove(client, NAMESPACE, terminal.signal)).map(({ kind }) => kind);
    expect(kinds).not.toContain("Namespace");
    expect(kinds).not.toContain("Secret");
  });
});
