/** Stock kubectl against our API server: what a newcomer types, and what it says. */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ApiServer, startApiServer } from "@drayage/embedded/api-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { peer } from "./peers.ts";

let folder: string;
let server: ApiServer;
let kubelet: Server;

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function kubectl(args: readonly string[], options: { readonly input?: string; readonly environment?: Record<string, string> } = {}): Promise<Result> {
  return new Promise((resolve) => {
    const environment = { ...process.env, KUBECONFIG: join(folder, "kubeconfig"), HOME: folder, ...options.environment };
    const child = execFile(peer("kubectl"), args, { env: environment, timeout: 60_000 }, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, out, err });
    });
    child.stdin?.end(options.input ?? "");
  });
}

/** Runs a command that must succeed and gives its output. */
async function say(...args: string[]): Promise<string> {
  const { code, out, err } = await kubectl(args);
  expect({ args, code, err: code === 0 ? "" : err }).toEqual({ args, code: 0, err: "" });
  return out;
}

const apply = (manifest: string, ...more: string[]): Promise<Result> => kubectl(["apply", "-f", "-", ...more], { input: manifest });

const app = (replicas: number): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: busybox
        command: [sleep, "1000"]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`;

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.harbour.example.com}
spec:
  group: harbour.example.com
  scope: Namespaced
  names: {plural: ships, singular: ship, kind: Ship, shortNames: [sh]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Flag, type: string, jsonPath: .spec.flag}
    - {name: Docked, type: string, jsonPath: ".status.conditions[?(@.type=='Docked')].status"}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What the ship is to be.
            required: [flag]
            properties:
              flag: {type: string, description: The country whose flag it flies.}
              crew: {type: integer, minimum: 1}
          status:
            type: object
            properties:
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kubectl-"));
  server = await startApiServer({ directory: join(folder, "cluster"), clock: systemClock, random: systemRandom, logger: nullLogger });
  writeFileSync(join(folder, "kubeconfig"), server.adminKubeconfig());
  kubelet = await startKubelet(server.kubeletToken);
  await say("create", "namespace", "shop");
});

afterAll(async () => {
  await server?.close();
  kubelet?.closeAllConnections();
  kubelet?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Just enough of a kubelet to answer for one container: its log, and commands that echo their input or fail. */
async function startKubelet(token: string): Promise<Server> {
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "v5.channel.k8s.io" });
  const http = createServer((request, response) => {
    if (request.headers.authorization !== `Bearer ${token}`) response.writeHead(401).end();
    else response.end(`log of ${request.url}\n`);
  });
  http.on("upgrade", (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (opened) => {
      const query = new URL(request.url ?? "", "http://kubelet").searchParams;
      const channel = (number: number, text: string): void => opened.send(Buffer.concat([Buffer.from([number]), Buffer.from(text)]));
      const finish = (exitCode: number): void => {
        const details = { reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] } };
        channel(3, JSON.stringify({ metadata: {}, status: exitCode === 0 ? "Success" : "Failure", ...(exitCode === 0 ? {} : details) }));
        opened.close(1000);
      };
      const command = query.getAll("command");
      if (command[0] === "false") return finish(3);
      if (query.get("stdin") === null) {
        channel(1, `ran ${command.join(" ")}\n`);
        return finish(0);
      }
      opened.on("message", (data: Buffer) => {
        if (data[0] === 0) channel(1, data.subarray(1).toString("utf8"));
        else finish(0);
      });
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return http;
}

describe("kubectl", () => {
  it("knows the server, its kinds and their versions", async () => {
    expect(await say("version")).toContain("Server Version: v1.34");
    const resources = await say("api-resources");
    expect(resources).toMatch(/^deployments +deploy +apps\/v1 +true +Deployment$/m);
    expect(resources).toMatch(/^persistentvolumeclaims +pvc +v1 +true +PersistentVolumeClaim$/m);
    expect((await say("api-versions")).split("\n")).toEqual(expect.arrayContaining(["v1", "apps/v1", "storage.k8s.io/v1"]));
    expect(await say("get", "--raw", "/readyz")).toBe("ok");
  });

  it("applies, shows the difference of a change, and applies it", async () => {
    expect((await apply(app(2))).out).toBe("deployment.apps/web created\npersistentvolumeclaim/data created\n");
    expect((await apply(app(2))).out).toBe("deployment.apps/web unchanged\npersistentvolumeclaim/data unchanged\n");
    const diff = await kubectl(["diff", "-f", "-"], { input: app(3) });
    expect(diff.code).toBe(1);
    expect(diff.out).toMatch(/^- {2}replicas: 2\n\+ {2}replicas: 3$/m);
    expect((await apply(app(3))).out).toContain("deployment.apps/web configured");
    expect(await say("-n", "shop", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")).toBe("3");
  });

  it("applies on the server and reports who else owns a field", async () => {
    expect((await apply(app(3), "--server-side")).out).toContain("deployment.apps/web serverside-applied");
    const conflict = await apply(app(4), "--server-side", "--field-manager=somebody");
    expect(conflict.code).toBe(1);
    expect(conflict.err).toContain('conflict with "kubectl"');
    expect(conflict.err).toContain(".spec.replicas");
    expect((await apply(app(4), "--server-side", "--field-manager=somebody", "--force-conflicts")).code).toBe(0);
    expect(await say("-n", "shop", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")).toBe("4");
  });

  it("refuses a manifest with unknown fields and with wrong types, naming them", async () => {
    const unknown = await apply(app(3).replace("replicas: 3", "replica: 3"));
    expect(unknown.err).toContain('strict decoding error: unknown field "spec.replica"');
    const wrong = await apply(app(3).replace("replicas: 3", 'replicas: "three"'));
    expect(wrong.err).toContain("cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
    const invalid = await apply(app(3).replace("matchLabels: {app: web}", "matchLabels: {app: other}").replace("name: web, namespace", "name: wob, namespace"));
    expect(invalid.err).toContain("`selector` does not match template `labels`");
  });

  it("prints tables, wide tables, YAML, JSON, names and paths", async () => {
    expect(await say("-n", "shop", "get", "deploy")).toMatch(/^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0\/4 +0 +0 +\w+\n$/);
    expect(await say("-n", "shop", "get", "deploy", "-o", "wide")).toMatch(/CONTAINERS +IMAGES +SELECTOR\nweb .* web +busybox +app=web/);
    expect(await say("-n", "shop", "get", "pvc")).toMatch(/NAME +STATUS +VOLUME +CAPACITY.*\ndata +Pending/);
    expect(await say("-n", "shop", "get", "deploy,pvc", "-o", "name")).toBe("deployment.apps/web\npersistentvolumeclaim/data\n");
    expect(JSON.parse(await say("-n", "shop", "get", "deploy", "web", "-o", "json"))).toMatchObject({ kind: "Deployment", metadata: { name: "web" } });
    expect(await say("-n", "shop", "get", "deploy", "web", "-o", "yaml")).toContain("kind: Deployment");
    expect(await say("get", "deploy", "-A", "-l", "app=none")).toBe("");
    expect((await kubectl(["get", "nothings"])).err).toContain('the server doesn\'t have a resource type "nothings"');
    expect((await kubectl(["-n", "shop", "get", "pod", "none"])).err).toBe('Error from server (NotFound): pods "none" not found\n');
  });

  it("creates from its own generators, which speak protobuf", async () => {
    await say("-n", "shop", "create", "deployment", "gen", "--image=nginx", "--replicas=2");
    await say("-n", "shop", "create", "secret", "generic", "login", "--from-literal=user=me");
    await say("-n", "shop", "create", "configmap", "conf", "--from-literal=a=b");
    await say("-n", "shop", "create", "serviceaccount", "robot");
    await say("-n", "shop", "create", "job", "once", "--image=busybox", "--", "true");
    await say("-n", "shop", "create", "cronjob", "often", "--image=busybox", "--schedule=*/5 * * * *", "--", "true");
    await say("-n", "shop", "create", "role", "reader", "--verb=get", "--resource=pods");
    await say("-n", "shop", "create", "rolebinding", "readers", "--role=reader", "--serviceaccount=shop:robot");
    await say("-n", "shop", "create", "quota", "limits", "--hard=pods=10");
    await say("-n", "shop", "create", "ingress", "front", "--rule=example.com/path=web:80");
    await say("-n", "shop", "create", "poddisruptionbudget", "budget", "--selector=app=web", "--min-available=1");
    await say("-n", "shop", "expose", "deploy", "gen", "--port=80");
    await say("-n", "shop", "autoscale", "deploy", "gen", "--max=3");
    expect(await say("-n", "shop", "get", "secret", "login", "-o", "jsonpath={.data.user}")).toBe("bWU=");
    expect(await say("-n", "shop", "get", "svc", "gen", "-o", "jsonpath={.spec.clusterIP}")).toMatch(/^10\.96\.0\.\d+$/);
    expect((await kubectl(["-n", "shop", "create", "configmap", "conf"])).err).toContain('configmaps "conf" already exists');
  });

  it("gives tokens that are good for what their account may do", async () => {
    const token = (await say("-n", "shop", "create", "token", "robot")).trim();
    const as = (...args: string[]): Promise<Result> =>
      kubectl(["--server", server.url, "--insecure-skip-tls-verify", "--token", token, ...args], { environment: { KUBECONFIG: "/dev/null" } });
    expect((await as("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).out).toBe("system:serviceaccount:shop:robot");
    expect((await as("-n", "shop", "auth", "can-i", "get", "pods")).out).toBe("yes\n");
    expect((await as("-n", "shop", "auth", "can-i", "delete", "pods")).out).toBe("no\n");
    expect((await as("-n", "shop", "get", "secrets")).err).toContain(
      'secrets is forbidden: User "system:serviceaccount:shop:robot" cannot list resource "secrets" in API group "" in the namespace "shop"',
    );
    expect(await say("-n", "shop", "auth", "can-i", "--list", "--as=system:serviceaccount:shop:robot")).toMatch(/^pods +\[\] +\[\] +\[get\]$/m);
    expect(await say("auth", "can-i", "create", "nodes")).toBe("yes\n");
  });

  it("edits with an editor, patches in three ways, labels, annotates and scales", async () => {
    const editor = { EDITOR: "sed -i 's/replicas: 2$/replicas: 5/'" };
    expect(await kubectl(["-n", "shop", "edit", "deploy", "gen"], { environment: editor })).toEqual({ code: 0, out: "deployment.apps/gen edited\n", err: "" });
    const replicas = (): Promise<string> => say("-n", "shop", "get", "deploy", "gen", "-o", "jsonpath={.spec.replicas}");
    expect(await replicas()).toBe("5");
    await say("-n", "shop", "patch", "deploy", "gen", "-p", '{"spec":{"replicas":6}}');
    await say("-n", "shop", "patch", "deploy", "gen", "--type=merge", "-p", '{"metadata":{"labels":{"tier":"front"}}}');
    await say("-n", "shop", "patch", "deploy", "gen", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":7}]');
    expect(await replicas()).toBe("7");
    await say("-n", "shop", "label", "deploy", "gen", "tier=back", "--overwrite");
    await say("-n", "shop", "annotate", "deploy", "gen", "note=x");
    await say("-n", "shop", "scale", "deploy", "gen", "--replicas=1");
    await say("-n", "shop", "set", "image", "deploy/gen", "nginx=nginx:2");
    expect(await replicas()).toBe("1");
    expect(await say("-n", "shop", "get", "deploy", "-l", "tier=back", "-o", "name")).toBe("deployment.apps/gen\n");
  });

  it("describes and explains", async () => {
    expect(await say("-n", "shop", "describe", "deploy", "gen")).toMatch(/StrategyType: +RollingUpdate/);
    expect(await say("-n", "shop", "describe", "pvc", "data")).toMatch(/Status: +Pending/);
    expect(await say("describe", "ns", "shop")).toMatch(/Status: +Active/);
    expect(await say("explain", "pod.spec.containers.image")).toMatch(/FIELD: image <string>/);
    expect(await say("explain", "deployment", "--recursive")).toContain("progressDeadlineSeconds");
  });

  it("waits for conditions, for fields and for deletion", async () => {
    const waiting = kubectl(["-n", "shop", "wait", "--for=condition=Available", "deploy/gen", "--timeout=30s"]);
    const condition = { type: "Available", status: "True", lastUpdateTime: "2026-01-01T00:00:00Z", lastTransitionTime: "2026-01-01T00:00:00Z" };
    await say(
      "-n",
      "shop",
      "patch",
      "deploy",
      "gen",
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify({ status: { observedGeneration: 100, replicas: 1, updatedReplicas: 1, availableReplicas: 1, readyReplicas: 1, conditions: [condition] } }),
    );
    expect((await waiting).out).toBe("deployment.apps/gen condition met\n");
    expect(await say("-n", "shop", "rollout", "status", "deploy", "gen", "--timeout=10s")).toContain("successfully rolled out");
    expect(await say("-n", "shop", "wait", "--for=jsonpath={.spec.replicas}=1", "deploy/gen", "--timeout=10s")).toContain("condition met");
    const gone = kubectl(["-n", "shop", "wait", "--for=delete", "cm/conf", "--timeout=30s"]);
    await say("-n", "shop", "delete", "cm", "conf");
    expect((await gone).code).toBe(0);
    expect((await kubectl(["-n", "shop", "wait", "--for=condition=Ready", "deploy/web", "--timeout=1s"])).err).toContain("timed out");
  });

  it("watches", async () => {
    const child = spawn(peer("kubectl"), ["-n", "shop", "get", "cm", "--watch-only", "--output-watch-events"], {
      env: { ...process.env, KUBECONFIG: join(folder, "kubeconfig"), HOME: folder },
    });
    let out = "";
    const sawBoth = (): boolean => out.includes("ADDED") && out.includes("DELETED");
    const seen = new Promise<void>((resolve) => {
      child.stdout.on("data", (data: Buffer) => {
        out += data.toString();
        if (sawBoth()) resolve();
      });
    });
    // The watch begins some time after the program does; a change now and then gives it something to see.
    for (let round = 0; round < 100 && !sawBoth(); round++) {
      await say("-n", "shop", "create", "configmap", `watched-${round}`);
      await say("-n", "shop", "delete", "configmap", `watched-${round}`);
    }
    await seen;
    child.kill();
    expect(out).toMatch(/^ADDED +watched-\d+ +0 /m);
    expect(out).toMatch(/^DELETED +watched-\d+ +0 /m);
  });

  it("serves a new kind at once: explained, validated, shown in its own columns", async () => {
    expect((await apply(definition)).code).toBe(0);
    await say("wait", "--for=condition=Established", "crd/ships.harbour.example.com", "--timeout=10s");
    expect(await say("explain", "ship.spec")).toContain("The country whose flag it flies.");
    const ship = (spec: string): string => `{apiVersion: harbour.example.com/v1, kind: Ship, metadata: {name: ada, namespace: shop}, spec: ${spec}}`;
    expect((await apply(ship("{flag: no, crew: 0}"))).err).toContain("spec.crew in body should be greater than or equal to 1");
    expect((await apply(ship("{crew: 3}"))).err).toContain("spec.flag: Required value");
    expect((await apply(ship("{flag: no, colour: red}"))).err).toContain('unknown field "spec.colour"');
    expect((await apply(ship('{flag: "no", crew: 3}'))).out).toBe("ship.harbour.example.com/ada created\n");
    await say(
      "-n",
      "shop",
      "patch",
      "ship",
      "ada",
      "--subresource=status",
      "--type=merge",
      "-p",
      '{"status":{"conditions":[{"type":"Docked","status":"True"}]}}',
    );
    expect(await say("-n", "shop", "get", "sh")).toMatch(/^NAME +FLAG +DOCKED\nada +no +True\n$/);
    expect(await say("delete", "crd", "ships.harbour.example.com")).toContain("deleted");
    expect((await kubectl(["-n", "shop", "get", "ships"])).code).toBe(1);
  });

  it("reads logs and runs commands in the container of a node", async () => {
    const { port } = kubelet.address() as AddressInfo;
    await kubectl(["create", "-f", "-"], { input: '{"apiVersion":"v1","kind":"Node","metadata":{"name":"node-1"}}' });
    const status = { addresses: [{ type: "InternalIP", address: "127.0.0.1" }], daemonEndpoints: { kubeletEndpoint: { Port: port } } };
    await say("patch", "node", "node-1", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status }));
    await kubectl(["-n", "shop", "create", "-f", "-"], {
      input: '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"box"},"spec":{"nodeName":"node-1","containers":[{"name":"main","image":"busybox"}]}}',
    });
    await say("-n", "shop", "patch", "pod", "box", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Running"}}');
    expect(await say("-n", "shop", "logs", "box", "--tail=3")).toBe("log of /containerLogs/shop/box/main?tailLines=3\n");
    expect(await say("-n", "shop", "exec", "box", "--", "echo", "a b")).toBe("ran echo a b\n");
    expect((await kubectl(["-n", "shop", "exec", "-i", "box", "--", "cat"], { input: "through and back" })).out).toBe("through and back");
    const failed = await kubectl(["-n", "shop", "exec", "box", "--", "false"]);
    expect(failed.code).toBe(3);
    expect((await kubectl(["-n", "shop", "logs", "box", "-c", "other"])).err).toContain("container other is not valid for pod box");
  });

  it("deletes with finalizers of its own kinds, and a namespace with everything in it", async () => {
    expect(await say("-n", "shop", "delete", "pod", "box", "--grace-period=0", "--force")).toContain("force deleted");
    expect(await say("-n", "shop", "delete", "pvc", "data", "--timeout=20s")).toContain("deleted");
    expect(await say("delete", "namespace", "shop", "--timeout=20s")).toContain("deleted");
    expect((await kubectl(["get", "ns", "shop"])).err).toContain('namespaces "shop" not found');
  });
});
