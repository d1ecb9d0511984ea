/** What kubectl sends in protobuf is read into what it says in JSON. */
import { execFile } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { decodeKubernetesProtobuf, isKubernetesProtobuf } from "@drayage/protocols/kubernetes";
import { afterAll, beforeAll, expect, it } from "vitest";
import { peer } from "./peers.ts";

let listener: Server;
let body: Buffer;

beforeAll(async () => {
  // Keeps the body of a POST and answers nothing that makes sense; kubectl has sent what is wanted by then.
  listener = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      if (request.method === "POST") body = Buffer.concat(parts);
      response.writeHead(request.method === "POST" ? 418 : 404).end();
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
});

afterAll(() => {
  listener.closeAllConnections();
  listener.close();
});

function kubectl(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(peer("kubectl"), args, { env: { ...process.env, KUBECONFIG: "/dev/null" } }, (_error, out) => resolve(out));
  });
}

it.each([
  ["namespace", "shop"],
  ["deployment", "web", "--image=nginx", "--replicas=0", "--port=80", "--", "sleep", "5"],
  ["secret", "generic", "login", "--from-literal=user=me", "--from-literal=empty="],
  ["configmap", "conf", "--from-literal=a=b"],
  ["job", "once", "--image=busybox", "--", "true"],
  ["cronjob", "often", "--image=busybox", "--schedule=*/5 * * * *", "--restart=OnFailure"],
  ["clusterrole", "paths", "--verb=get", "--non-resource-url=/healthz"],
  ["rolebinding", "readers", "--role=reader", "--user=u", "--serviceaccount=shop:robot"],
  ["quota", "limits", "--hard=cpu=1500m,pods=10"],
  ["ingress", "front", "--class=nginx", "--rule=example.com/path*=web:80,tls=cert"],
  ["poddisruptionbudget", "budget", "--selector=app=web", "--min-available=50%"],
  ["priorityclass", "low", "--value=0", "--preemption-policy=Never"],
  ["service", "clusterip", "web", "--tcp=80:http"],
  ["serviceaccount", "robot"],
])("create %s", async (...args) => {
  const said = JSON.parse(await kubectl(["create", ...args.slice(0, 2), "--dry-run=client", "-o", "json", ...args.slice(2)])) as Record<string, unknown>;
  body = Buffer.alloc(0);
  await kubectl(["--server", `http://127.0.0.1:${(listener.address() as AddressInfo).port}`, "create", "--validate=false", ...args]);
  expect(isKubernetesProtobuf(body)).toBe(true);
  const { metadata, ...rest } = decodeKubernetesProtobuf(body) as Record<string, Record<string, unknown>>;
  const { namespace: _namespace, ...own } = metadata ?? {};
  expect({ ...rest, metadata: own }).toEqual(said);
});
