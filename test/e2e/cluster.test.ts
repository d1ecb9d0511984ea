import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "@drayage/base";
import { clusterDown, clusterStatus, clusterUp } from "@drayage/embedded/cluster";
import {
  configMaps,
  type Deployment,
  daemonSets,
  deployments,
  jobs,
  nodes,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  secrets,
} from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { roleCommand } from "../../apps/dray/src/cluster/embedded.ts";
import { shellPod, TestCluster } from "./embedded-cluster.ts";

const isRoot = process.getuid?.() === 0;

const claim = (name: string, spec: Partial<PersistentVolumeClaim["spec"]> = {}): PersistentVolumeClaim => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { namespace: "default", name },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "16Mi" } }, ...spec },
});

const deployment = (name: string, script: string, over: object = {}): Deployment => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { namespace: "default", name },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "main", image: "busybox", command: ["sh", "-c", script] }], ...over } },
  },
});

describe("the embedded cluster", () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await TestCluster.start();
  });
  afterAll(() => cluster?.destroy());

  const isAvailable = (object: Deployment | undefined): boolean => object?.status?.["availableReplicas"] === 1;
  const podOf = async (app: string): Promise<string> =>
    (await cluster.client.list(pods, { namespace: "default", labelSelector: `app=${app}` })).items[0]?.metadata.name ?? "";

  it("has two ready nodes with labels that schedulers use", async () => {
    const { items } = await cluster.client.list(nodes);
    expect(items.map(({ metadata }) => metadata.name)).toEqual(["node-1", "node-2"]);
    expect(items[0]?.metadata.labels).toMatchObject({ "kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux" });
    expect((await clusterStatus(cluster.directory, systemClock)).state).toBe("running");
  });

  it("runs a Deployment with a volume, gives its log, runs commands in it, and takes it all away", async () => {
    const { client } = cluster;
    await client.create(persistentVolumeClaims, claim("data"));
    const volumes = [{ name: "data", persistentVolumeClaim: { claimName: "data" } }];
    const containers = [
      {
        name: "main",
        image: "busybox",
        command: ["sh", "-c", "echo hello; echo kept > /data/file; sleep 1000"],
        volumeMounts: [{ name: "data", mountPath: "/data" }],
      },
    ];
    await client.create(deployments, deployment("web", "", { containers, volumes }));
    await cluster.until(deployments, { namespace: "default", name: "web" }, isAvailable);
    const name = await podOf("web");
    expect(await cluster.logOf(name)).toBe("hello\n");
    expect(await client.podExec({ namespace: "default", name }, { command: ["cat", "/data/file"] })).toEqual({ exitCode: 0, stdout: "kept\n", stderr: "" });
    const failing = await client.podExec({ namespace: "default", name }, { command: ["sh", "-c", "cat; echo bad >&2; exit 4"], stdin: Buffer.from("given") });
    expect(failing).toEqual({ exitCode: 4, stdout: "given", stderr: "bad\n" });

    const volumeName = (await client.get(persistentVolumeClaims, { namespace: "default", name: "data" })).spec.volumeName ?? "";
    await client.delete(deployments, { namespace: "default", name: "web" });
    await client.delete(persistentVolumeClaims, { namespace: "default", name: "data" });
    await cluster.untilGone(pods, { namespace: "default", name });
    await cluster.untilGone(persistentVolumes, { name: volumeName });
    expect(cluster.mounts().filter((line) => line.includes("/pods/"))).toEqual([]);
  });

  it("gives pods their configuration, secrets, service account and facts about themselves", async () => {
    const { client } = cluster;
    await client.create(secrets, { metadata: { namespace: "default", name: "s" }, stringData: { key: "secret" } });
    await client.create(configMaps, { metadata: { namespace: "default", name: "c" }, data: { "app.conf": "configured" } });
    const script = [
      "cat /etc/app/app.conf /secret/key; echo",
      'echo "$NAME $KEY"',
      "ls /var/run/secrets/kubernetes.io/serviceaccount | tr '\\n' ' '; echo",
      "cat /shared/init",
      "echo result > /dev/termination-log",
    ].join("; ");
    const pod = shellPod("configured", script, {
      container: {
        env: [
          { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: "KEY", valueFrom: { secretKeyRef: { name: "s", key: "key" } } },
        ],
        volumeMounts: [
          { name: "c", mountPath: "/etc/app" },
          { name: "s", mountPath: "/secret" },
          { name: "shared", mountPath: "/shared", readOnly: true },
        ],
      },
      spec: {
        initContainers: [
          { name: "init", image: "busybox", command: ["sh", "-c", "echo first > /shared/init"], volumeMounts: [{ name: "shared", mountPath: "/shared" }] },
        ],
        volumes: [
          { name: "c", configMap: { name: "c" } },
          { name: "s", secret: { secretName: "s" } },
          { name: "shared", emptyDir: {} },
        ],
      },
    });
    await client.create(pods, pod);
    const ended = await cluster.untilEnded("configured");
    expect(ended.status?.phase).toBe("Succeeded");
    expect(ended.status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({ exitCode: 0, reason: "Completed", message: "result\n" });
    expect(await cluster.logOf("configured")).toBe("configuredsecret\nconfigured secret\nca.crt namespace token \nfirst\n");
  });

  it("runs this program's own image, which reaches the API server as its service account", async () => {
    const script = [
      "/velero version --help >/dev/null && echo velero",
      "dray version --client-only >/dev/null && echo dray",
      `NODE_EXTRA_CA_CERTS=$A/ca.crt ${process.execPath} -e 'fetch(process.argv[1], { headers: { authorization: "Bearer " + process.argv[2] } }).then(({ status }) => console.log(status))' https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/version "$(cat $A/token)"`,
    ].join("; ");
    const image = { image: "drayage/dray:0.1.0", env: [{ name: "A", value: "/var/run/secrets/kubernetes.io/serviceaccount" }] };
    await cluster.client.create(pods, shellPod("own", script, { container: image }));
    const ended = await cluster.untilEnded("own");
    expect(await cluster.logOf("own")).toMatch(/^velero\ndray\n.*200/s);
    expect(ended.status?.phase).toBe("Succeeded");
  });

  it("shows why a pod does not start", async () => {
    const { client } = cluster;
    await client.create(pods, shellPod("no-image", "true", { container: { image: "registry.example/missing:1" } }));
    await client.create(pods, shellPod("no-node", "true", { spec: { nodeSelector: { nowhere: "here" } } }));
    await client.create(pods, shellPod("no-secret", "true", { container: { envFrom: [{ secretRef: { name: "absent" } }] } }));
    const waiting = (reason: string) => (pod: { status?: { containerStatuses?: { state?: { waiting?: { reason?: string } } }[] } } | undefined) =>
      pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason === reason;
    await cluster.until(pods, { namespace: "default", name: "no-image" }, waiting("ErrImagePull"));
    await cluster.until(pods, { namespace: "default", name: "no-image" }, waiting("ImagePullBackOff"));
    await cluster.until(pods, { namespace: "default", name: "no-secret" }, waiting("CreateContainerConfigError"));
    const unplaced = await cluster.until(
      pods,
      { namespace: "default", name: "no-node" },
      (pod) => pod?.status?.conditions?.some(({ reason }) => reason === "Unschedulable") === true,
    );
    expect(unplaced?.status?.conditions?.find(({ type }) => type === "PodScheduled")?.message).toBe(
      "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
    );
    for (const name of ["no-image", "no-node", "no-secret"]) {
      await client.delete(pods, { namespace: "default", name });
      await cluster.untilGone(pods, { namespace: "default", name });
    }
  });

  it("restarts what fails under Always, and runs a Job to its end and a daemon on every node", async () => {
    const { client } = cluster;
    await client.create(pods, shellPod("crashing", "exit 1", { spec: { restartPolicy: "Always" } }));
    const template = { spec: { restartPolicy: "Never" as const, containers: [{ name: "main", image: "busybox", command: ["true"] }] } };
    await client.create(jobs, { metadata: { namespace: "default", name: "job" }, spec: { completions: 3, parallelism: 2, template } });
    await client.create(daemonSets, {
      metadata: { namespace: "default", name: "daemon" },
      spec: {
        selector: { matchLabels: { app: "daemon" } },
        template: { metadata: { labels: { app: "daemon" } }, spec: { containers: [{ name: "main", image: "busybox", command: ["sleep", "1000"] }] } },
      },
    });
    await cluster.until(
      jobs,
      { namespace: "default", name: "job" },
      (job) => job?.status?.conditions?.some(({ type, status }) => type === "Complete" && status === "True") === true,
    );
    await cluster.until(daemonSets, { namespace: "default", name: "daemon" }, (set) => set?.status?.["numberReady"] === 2);
    const daemons = (await client.list(pods, { namespace: "default", labelSelector: "app=daemon" })).items;
    expect(daemons.map(({ spec }) => spec.nodeName).sort()).toEqual(["node-1", "node-2"]);
    await cluster.until(
      pods,
      { namespace: "default", name: "crashing" },
      (pod) => pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "CrashLoopBackOff",
    );
    await client.delete(daemonSets, { namespace: "default", name: "daemon" });
    await client.delete(pods, { namespace: "default", name: "crashing" });
  });

  const blockTest = async (): Promise<void> => {
    const { client } = cluster;
    await client.create(persistentVolumeClaims, claim("block", { volumeMode: "Block", storageClassName: "drayage-fs-wait" }));
    const pod = shellPod(
      "block",
      "test -b /dev/xvda && blockdev --getsize64 /dev/xvda && dd if=/dev/zero of=/dev/xvda bs=1M count=1 oflag=direct 2>/dev/null && echo written",
      {
        container: { volumeDevices: [{ name: "b", devicePath: "/dev/xvda" }] },
        spec: { volumes: [{ name: "b", persistentVolumeClaim: { claimName: "block" } }] },
      },
    );
    await client.create(pods, pod);
    await cluster.untilEnded("block");
    expect(await cluster.logOf("block")).toBe("16777216\nwritten\n");
    await client.delete(pods, { namespace: "default", name: "block" });
    await client.delete(persistentVolumeClaims, { namespace: "default", name: "block" });
    await cluster.untilGone(persistentVolumeClaims, { namespace: "default", name: "block" });
  };
  // A loop device needs root.
  if (isRoot) it("gives a pod a block volume as a device", blockTest);

  it("goes on when a node's process or the control plane is killed", async () => {
    const { client } = cluster;
    await client.create(deployments, deployment("steady", "echo began; sleep 1000"));
    await cluster.until(deployments, { namespace: "default", name: "steady" }, isAvailable);
    const name = await podOf("steady");
    const pod = await client.get(pods, { namespace: "default", name });
    process.kill(cluster.pidOf(pod.spec.nodeName ?? ""), "SIGKILL");
    process.kill(cluster.pidOf("control-plane"), "SIGKILL");
    await cluster.up();
    await cluster.until(
      pods,
      { namespace: "default", name },
      (found) => found?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true,
    );
    expect((await cluster.client.podExec({ namespace: "default", name }, { command: ["hostname"] })).stdout).toBe(`${name}\n`);
    const after = await cluster.client.get(pods, { namespace: "default", name });
    expect(after.status?.containerStatuses?.[0]).toMatchObject({ restartCount: 0, containerID: pod.status?.containerStatuses?.[0]?.containerID });
  });

  it("leaves nothing when it is down, and has everything again when it is up", async () => {
    const { client } = cluster;
    await client.create(persistentVolumeClaims, claim("lasting"));
    const mounted = { volumeMounts: [{ name: "d", mountPath: "/data" }] };
    const spec = { restartPolicy: "Always" as const, volumes: [{ name: "d", persistentVolumeClaim: { claimName: "lasting" } }] };
    await client.create(pods, shellPod("lasting", "date >> /data/starts; sleep 1000", { container: mounted, spec }));
    await cluster.until(pods, { namespace: "default", name: "lasting" }, (pod) => pod?.status?.phase === "Running");
    await cluster.down();
    expect(cluster.processes()).toEqual([]);
    expect(cluster.mounts()).toEqual([]);
    expect((await clusterStatus(cluster.directory, systemClock)).state).toBe("stopped");
    await cluster.up();
    await cluster.until(
      pods,
      { namespace: "default", name: "lasting" },
      (pod) => pod?.status?.containerStatuses?.[0]?.restartCount === 1 && pod.status.containerStatuses[0].ready,
    );
    const { stdout } = await cluster.client.podExec({ namespace: "default", name: "lasting" }, { command: ["wc", "-l", "/data/starts"] });
    expect(stdout).toBe("2 /data/starts\n");
  });
});

describe("clusterUp", () => {
  const options = (directory: string) => ({
    directory,
    launch: (role: Parameters<typeof roleCommand>[0]) => roleCommand(role, process.env),
    clock: systemClock,
    random: systemRandom,
  });

  it("refuses a folder that holds something else, and leaves it as it was", async () => {
    const folder = mkdtempSync(join(tmpdir(), "dray-e2e-"));
    try {
      writeFileSync(join(folder, "letter.txt"), "dear");
      await expect(clusterUp(options(folder))).rejects.toMatchObject({ code: "PATH_NOT_EMPTY", message: expect.stringContaining('holds "letter.txt"') });
      await expect(clusterDown({ directory: folder, clock: systemClock, destroy: true })).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
      await expect(clusterStatus(folder, systemClock)).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([0, 1.5, 99])("refuses %s nodes", async (nodeCount) => {
    const folder = mkdtempSync(join(tmpdir(), "dray-e2e-"));
    try {
      await expect(clusterUp({ ...options(folder), nodes: nodeCount })).rejects.toMatchObject({ code: "USAGE" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("says what a process failed with", async () => {
    const folder = mkdtempSync(join(tmpdir(), "dray-e2e-"));
    try {
      const launch = () => ({ command: process.execPath, args: ["-e", "process.stderr.write('out of luck\\n'); process.exitCode = 3"], env: process.env });
      await expect(clusterUp({ ...options(folder), launch })).rejects.toMatchObject({
        code: "KUBE_UNAVAILABLE",
        message: expect.stringContaining("out of luck"),
      });
      expect(await clusterDown({ directory: folder, clock: systemClock, destroy: true })).toEqual({ processes: 0, containers: 0 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("a cluster that is interrupted while it starts", () => {
  it("leaves nothing running, and can be started again", async () => {
    const folder = mkdtempSync(join(tmpdir(), "dray-interrupted-"));
    const interrupt = new AbortController();
    const up = (signal?: AbortSignal) =>
      clusterUp({
        directory: folder,
        nodes: 1,
        clock: systemClock,
        random: systemRandom,
        launch: (role) => {
          if (role.role === "node") setImmediate(() => interrupt.abort(new Error("enough")));
          return roleCommand(role, process.env);
        },
        ...(signal === undefined ? {} : { signal }),
      });
    try {
      await expect(up(interrupt.signal)).rejects.toThrow("enough");
      expect((await clusterStatus(folder, systemClock)).state).toBe("stopped");
      await up();
      expect((await clusterStatus(folder, systemClock)).state).toBe("running");
    } finally {
      await clusterDown({ directory: folder, clock: systemClock, destroy: true });
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
