/** What a newcomer types after `dray cluster up`, with the stock kubectl: it must behave as on any other cluster. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestCluster } from "../e2e/embedded-cluster.ts";
import { peer } from "./peers.ts";

const APPLICATION = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
      - name: main
        image: busybox
        command: [sh, -c, "echo hello; echo kept > /data/file; while :; do echo tick; sleep 0.2; done"]
        readinessProbe: { exec: { command: [test, -s, /data/file] }, periodSeconds: 1 }
        volumeMounts: [{ name: data, mountPath: /data }]
      volumes: [{ name: data, persistentVolumeClaim: { claimName: data } }]
`;

interface Answer {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

describe("stock kubectl with the embedded cluster", () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await TestCluster.start();
    writeFileSync(join(cluster.directory, "app.yaml"), APPLICATION);
  });
  afterAll(() => cluster?.destroy());

  interface RunOptions {
    readonly input?: string;
    readonly killAfter?: (out: string) => boolean;
    readonly env?: Readonly<Record<string, string>>;
  }
  const run = (args: readonly string[], options: RunOptions = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const child = spawn(peer("kubectl"), args, { env: { ...process.env, ...options.env, KUBECONFIG: cluster.kubeconfigPath }, cwd: cluster.directory });
      let out = "";
      let err = "";
      child.stdout.on("data", (chunk: Buffer) => {
        out += chunk.toString();
        if (options.killAfter?.(out) === true) child.kill("SIGKILL");
      });
      child.stderr.on("data", (chunk: Buffer) => {
        err += chunk.toString();
      });
      child.on("error", reject);
      child.on("close", (code) => resolve({ code, out, err }));
      child.stdin.end(options.input ?? "");
    });
  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run(args);
    expect(err, `kubectl ${args.join(" ")}`).toBe("");
    expect(code, `kubectl ${args.join(" ")}`).toBe(0);
    return out;
  };
  const columns = (table: string): string[][] =>
    table
      .trim()
      .split("\n")
      .map((line) => line.split(/\s{2,}/));

  it("lists namespaces, nodes and storage classes as tables", async () => {
    expect(columns(await kubectl("get", "namespaces"))[0]).toEqual(["NAME", "STATUS", "AGE"]);
    const [header, ...nodes] = columns(await kubectl("get", "nodes"));
    expect(header).toEqual(["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);
    expect(nodes.map(([name, status]) => `${name} ${status}`)).toEqual(["node-1 Ready", "node-2 Ready"]);
    expect(await kubectl("get", "storageclass")).toContain("drayage-fs (default)");
    expect(await kubectl("get", "volumesnapshotclass", "-o", "name")).toContain("drayage-snapshots");
  });

  it("applies a Deployment with a volume and waits for it", async () => {
    expect(await kubectl("apply", "-f", "app.yaml")).toBe("persistentvolumeclaim/data created\ndeployment.apps/web created\n");
    expect(await kubectl("rollout", "status", "deployment/web", "--timeout=60s")).toContain("successfully rolled out");
    await kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=10s");
    expect(await kubectl("apply", "-f", "app.yaml")).toBe("persistentvolumeclaim/data unchanged\ndeployment.apps/web unchanged\n");
    const [header, pod] = columns(await kubectl("get", "pods", "-o", "wide"));
    expect(header?.slice(0, 7)).toEqual(["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]);
    expect(pod?.slice(1, 4)).toEqual(["1/1", "Running", "0"]);
    expect(columns(await kubectl("get", "pvc"))[1]?.slice(0, 2)).toEqual(["data", "Bound"]);
  });

  it("shows logs: whole, the last lines, with times, followed", async () => {
    expect(await kubectl("logs", "deployment/web")).toMatch(/^hello\ntick\n/);
    expect(await kubectl("logs", "deployment/web", "--tail=1")).toBe("tick\n");
    expect(await kubectl("logs", "deployment/web", "--timestamps", "--tail=1")).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z tick\n$/);
    const followed = await run(["logs", "-f", "deployment/web", "--tail=0"], { killAfter: (out) => out.split("tick").length > 3 });
    expect(followed.out).toMatch(/^tick\ntick\ntick\n/);
  });

  it("runs commands with their output, input, exit code and a terminal", async () => {
    expect(await kubectl("exec", "deployment/web", "--", "cat", "/data/file")).toBe("kept\n");
    expect(await run(["exec", "-i", "deployment/web", "--", "sh", "-c", "cat; echo bad >&2"], { input: "given" })).toEqual({
      code: 0,
      out: "given",
      err: "bad\n",
    });
    expect(await run(["exec", "deployment/web", "--", "sh", "-c", "exit 7"])).toMatchObject({ code: 7, err: "command terminated with exit code 7\n" });
    expect((await run(["exec", "deployment/web", "--", "no-such-program"])).code).not.toBe(0);
    const big = await run(["exec", "deployment/web", "--", "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"]);
    expect(big.out.length).toBe(5_000_000);
  });

  it.each([
    ["WebSocket", "true"],
    ["SPDY", "false"],
  ])("runs commands, attaches to containers and forwards ports over %s", async (protocol, overWebSocket) => {
    const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: overWebSocket, KUBECTL_PORT_FORWARD_WEBSOCKETS: overWebSocket };
    const given = "x".repeat(2_000_000);
    const script = "wc -c; echo bad >&2; exit 5";
    expect(await run(["exec", "-i", "deployment/web", "--", "sh", "-c", script], { input: given, env })).toEqual({
      code: 5,
      out: "2000000\n",
      err: "bad\ncommand terminated with exit code 5\n",
    });
    const big = await run(["exec", "deployment/web", "--", "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"], { env });
    expect(big.out.length).toBe(5_000_000);
    expect((await run(["exec", "deployment/web", "-c", "nope", "--", "true"], { env })).err).toContain("container nope is not valid for pod");

    const attached = await run(["attach", "deployment/web"], { killAfter: (out) => out.split("tick").length > 3, env });
    expect(attached.out).toMatch(/^tick\ntick\ntick\n/);
    const name = `asks-${protocol.toLowerCase()}`;
    const interactive = ["run", name, "--rm", "-i", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-c", "cat; echo end; exit 4"];
    expect(await run(interactive, { input: "given\n", env })).toMatchObject({ code: 4, out: expect.stringMatching(/^given\nend\n/) });

    const pod = (await kubectl("get", "pods", "-l", "app=web", "-o", "name")).trim();
    // Pods share this machine's network, so what listens here listens in the pod.
    const server = createServer((socket) => socket.pipe(socket));
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as AddressInfo;
    const forward = spawn(peer("kubectl"), ["port-forward", pod, `:${port}`, ":1"], { env: { ...process.env, ...env, KUBECONFIG: cluster.kubeconfigPath } });
    try {
      let said = "";
      const local = new Promise<number[]>((resolve) => {
        const take = (chunk: Buffer): void => {
          said += chunk.toString();
          const ports = [...said.matchAll(/127\.0\.0\.1:(\d+)/g)].map((match) => Number(match[1]));
          if (ports.length === 2) resolve(ports);
        };
        forward.stdout.on("data", take);
        forward.stderr.on("data", take);
      });
      const [open = 0, closed = 0] = await local;
      const echo = async (): Promise<string> => {
        const socket = connect({ host: "127.0.0.1", port: open, allowHalfOpen: true });
        socket.end(given);
        return Buffer.concat(await socket.toArray()).toString();
      };
      expect((await Promise.all([echo(), echo(), echo()])).every((back) => back === given)).toBe(true);
      connect(closed, "127.0.0.1").on("error", () => undefined);
      await expect.poll(() => said, { timeout: 20_000 }).toContain(`error forwarding port 1 to pod ${pod.replace("pod/", "")}: connect ECONNREFUSED`);
    } finally {
      forward.kill();
      server.close();
    }
  });

  it("describes a pod with its events", async () => {
    const text = await kubectl("describe", "pods", "-l", "app=web");
    for (const part of ["Scheduled", "Pulled", "Created", "Started", "ClaimName:  data", "Ready:          True"]) expect(text).toContain(part);
  });

  it("rolls a change out and back", async () => {
    await kubectl("set", "env", "deployment/web", "COLOR=green");
    expect(await kubectl("rollout", "status", "deployment/web", "--timeout=60s")).toContain("successfully rolled out");
    expect(await kubectl("exec", "deployment/web", "--", "printenv", "COLOR")).toBe("green\n");
    await kubectl("rollout", "undo", "deployment/web");
    await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
    expect((await run(["exec", "deployment/web", "--", "printenv", "COLOR"])).code).not.toBe(0);
    expect(await kubectl("rollout", "history", "deployment/web")).toMatch(/2 .*\n3 /);
  });

  it("scales, and keeps pods off a cordoned node", async () => {
    await kubectl("create", "deployment", "many", "--image=busybox", "--", "sleep", "1000");
    await kubectl("scale", "deployment/many", "--replicas=4");
    await kubectl("rollout", "status", "deployment/many", "--timeout=60s");
    const nodesOf = async (): Promise<string[]> =>
      (await kubectl("get", "pods", "-l", "app=many", "-o", "jsonpath={.items[*].spec.nodeName}")).split(" ").sort();
    expect(await nodesOf()).toEqual(["node-1", "node-1", "node-2", "node-2"]);
    await run(["drain", "node-1", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s"]);
    await kubectl("rollout", "status", "deployment/many", "--timeout=60s");
    expect(new Set(await nodesOf())).toEqual(new Set(["node-2"]));
    await kubectl("uncordon", "node-1");
    await kubectl("delete", "deployment", "many");
  });

  it("runs a pod to its end and shows its result", async () => {
    await kubectl("run", "once", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-c", "echo out; exit 3");
    await kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/once", "--timeout=60s");
    expect(await kubectl("logs", "once")).toBe("out\n");
    expect(columns(await kubectl("get", "pod", "once"))[1]?.slice(1, 3)).toEqual(["0/1", "Error"]);
    await kubectl("delete", "pod", "once");
  });

  it("deletes what was applied, and its volume with it", async () => {
    expect(await kubectl("delete", "-f", "app.yaml", "--timeout=60s")).toContain('deployment.apps "web" deleted');
    await kubectl("wait", "--for=delete", "pods", "-l", "app=web", "--timeout=60s");
    await expect.poll(async () => (await run(["get", "pods,pv"])).err, { timeout: 20_000 }).toBe("No resources found\n");
  });
});
