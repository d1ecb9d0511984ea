import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadConnection } from "./connection.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kube-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

function kubeconfig(user: object, cluster: object = {}, context: object = {}): object {
  return {
    "current-context": "one",
    contexts: [{ name: "one", context: { cluster: "c", user: "u", ...context } }],
    clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:6443/", ...cluster } }],
    users: [{ name: "u", user }],
  };
}

const clock = new VirtualClock();
const load = (user: object, cluster: object = {}, context: object = {}) =>
  loadConnection({ kubeconfigPath: write("config", kubeconfig(user, cluster, context)) }, clock);

describe("loadConnection()", () => {
  it("reads certificates given in place or as files beside the kubeconfig", async () => {
    write("ca.crt", "CA");
    write("client.key", "KEY");
    const connection = load(
      { "client-certificate-data": Buffer.from("CERT").toString("base64"), "client-key": "client.key" },
      { "certificate-authority": "ca.crt", "tls-server-name": "api" },
      { namespace: "notes" },
    );
    expect(connection).toMatchObject({
      server: "https://127.0.0.1:6443",
      contextName: "one",
      namespace: "notes",
      ca: "CA",
      skipVerify: false,
      tlsServerName: "api",
    });
    expect(await connection.credentials()).toEqual({ headers: {}, cert: "CERT", key: "KEY" });
  });

  it("takes tokens, passwords and impersonation into headers", async () => {
    expect((await load({ token: "t" }).credentials()).headers).toEqual({ authorization: "Bearer t" });
    expect((await load({ username: "me", password: "p" }).credentials()).headers).toEqual({ authorization: `Basic ${Buffer.from("me:p").toString("base64")}` });
    expect((await load({ token: "t", as: "system:admin", "as-groups": ["g"] }).credentials()).headers).toMatchObject({
      "impersonate-user": "system:admin",
      "impersonate-group": "g",
    });
  });

  it("reads a token file again after a minute, or when the server refused it", async () => {
    write("token", "first\n");
    const connection = load({ tokenFile: "token" });
    const token = async (): Promise<string | undefined> => (await connection.credentials()).headers["authorization"];
    expect(await token()).toBe("Bearer first");
    write("token", "second");
    expect(await token()).toBe("Bearer first");
    connection.invalidate();
    expect(await token()).toBe("Bearer second");
    write("token", "third");
    await clock.advance(60_001);
    expect(await token()).toBe("Bearer third");
  });

  it("merges the files of KUBECONFIG, the first one that has an entry wins", () => {
    const first = write("first", { "current-context": "two" });
    const second = write("second", {
      "current-context": "one",
      contexts: [{ name: "two", context: { cluster: "c", user: "" } }],
      clusters: [{ name: "c", cluster: { server: "http://127.0.0.1:1" } }],
    });
    const connection = loadConnection({ env: { KUBECONFIG: `${first}:${second}:${join(folder, "missing")}`, HOME: folder } }, clock);
    expect([connection.contextName, connection.server, connection.namespace]).toEqual(["two", "http://127.0.0.1:1", "default"]);
  });

  it("runs a credential plug-in", async () => {
    const token = JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token: "from-plug-in" } });
    const connection = load({ exec: { apiVersion: "client.authentication.k8s.io/v1", command: "/bin/echo", args: [token], interactiveMode: "Never" } });
    expect((await connection.credentials()).headers).toEqual({ authorization: "Bearer from-plug-in" });
  });

  it.each([
    ["is not there", () => loadConnection({ kubeconfigPath: join(folder, "none") }, clock), "Cannot read kubeconfig"],
    ["is not YAML", () => loadConnection({ kubeconfigPath: write("c", "a: [") }, clock), "it is not YAML"],
    ["is not a mapping", () => loadConnection({ kubeconfigPath: write("c", "- a") }, clock), "it is not a mapping"],
    ["has no such context", () => loadConnection({ kubeconfigPath: write("c", kubeconfig({})), context: "two" }, clock), 'it has no context "two"'],
    ["names no context", () => loadConnection({ kubeconfigPath: write("c", "{}") }, clock), "it names no current context"],
    ["has no server", () => load({}, { server: "nowhere" }), 'its server is "nowhere"'],
    ["names a CA that is not there", () => load({}, { "certificate-authority": "none.crt" }), "certificate-authority of kubeconfig"],
  ])("says what is wrong when the kubeconfig %s", (_title, attempt, message) => {
    expect(attempt).toThrow(expect.objectContaining({ code: "KUBE_CONFIG", message: expect.stringContaining(message) }));
  });

  it("does not go on to another cluster when KUBECONFIG names a file that is not there", () => {
    mkdirSync(join(folder, ".kube"), { recursive: true });
    write(join(".kube", "config"), kubeconfig({ token: "another" }));
    expect(() => loadConnection({ env: { HOME: folder, KUBECONFIG: join(folder, "none") } }, clock)).toThrow(
      expect.objectContaining({ code: "KUBE_CONFIG", message: `Cannot read kubeconfig "${join(folder, "none")}": it is not there` }),
    );
  });

  it("names the contexts there are when the wanted one is not among them", () => {
    const attempt = () => loadConnection({ kubeconfigPath: write("c", kubeconfig({})), context: "two" }, clock);
    expect(attempt).toThrow(expect.objectContaining({ hint: "There are: one." }));
  });

  it("says what to do when there is neither kubeconfig nor pod", () => {
    expect(() => loadConnection({ env: { HOME: folder } }, clock)).toThrow(
      expect.objectContaining({ code: "KUBE_CONFIG", hint: expect.stringContaining("dray cluster up") }),
    );
  });
});
