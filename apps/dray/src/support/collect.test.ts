import { backupStorageLocations, backups } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { pods, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { collectBundle } from "./collect.ts";

const namespace = "velero";
const PASSWORD = "a repository password";
let client: FakeKubeClient;
beforeEach(() => {
  client = new FakeKubeClient();
  client.seed(secrets, { metadata: { namespace, name: "velero-repo-credentials" }, data: { "repository-password": btoa(PASSWORD) } });
  client.seed(backups, { metadata: { namespace, name: "first" }, spec: {}, status: { phase: "Failed", failureReason: `opened with ${PASSWORD}` } });
  client.seed(backupStorageLocations, {
    metadata: { namespace, name: "default" },
    spec: { provider: "azure", objectStorage: { bucket: "b" }, config: { storageAccountKey: "bG9uZyBrZXk=" } },
  });
  client.seed(pods, {
    metadata: { namespace, name: "drayage-0" },
    spec: { containers: [{ name: "server" }] },
    status: { containerStatuses: [{ name: "server", restartCount: 1 }] },
  } as never);
  client.handlers.podLog = ({ name }) => `${name} says ${btoa(PASSWORD)}\n`;
});

async function collected(): Promise<Map<string, string>> {
  const terminal = new RecordingTerminal();
  const files = new Map<string, string>();
  for await (const { name, text } of collectBundle({ client, namespace }, { backups: [], restores: [] }, terminal)) files.set(name, text);
  return files;
}

describe("a support bundle", () => {
  it("holds objects, logs of this run and the one before, what the doctor says, and a list of it all", async () => {
    const files = await collected();
    const names = [...files.keys()];
    for (const name of [
      "doctor.json",
      "namespace/backups.velero.io.json",
      "namespace/secrets.json",
      "logs/drayage-0/server.log",
      "logs/drayage-0/server.previous.log",
    ])
      expect(names).toContain(name);
    expect(names.at(-1)).toBe("manifest.json");
    expect(JSON.parse(files.get("manifest.json") ?? "")).toMatchObject({ schema: 1, namespace, files: names.slice(0, -1), skipped: [] });
  });

  it("holds no secret in any file", async () => {
    const everything = [...(await collected()).values()].join("\n");
    expect(everything).toContain("velero-repo-credentials");
    for (const secret of [PASSWORD, btoa(PASSWORD), "bG9uZyBrZXk="]) expect(everything).not.toContain(secret);
  });

  it("takes nothing for a secret that a token's Secret only says of where it is good", async () => {
    client.seed(secrets, {
      metadata: { namespace, name: "token" },
      data: { namespace: btoa(namespace), token: btoa("a token of an account"), "ca.crt": btoa("drayage-0") },
    });
    client.handlers.podLog = ({ name }) => `${name} in ${namespace} has a token of an account\n`;
    expect((await collected()).get("logs/drayage-0/server.log")).toBe(`drayage-0 in ${namespace} has <redacted>\n`);
  });

  it("names what it may not read, and keeps the rest", async () => {
    client.intercept = ({ resource, verb }) => {
      if (resource.startsWith("secrets")) throw new DrayError("KUBE_FORBIDDEN", `Cannot ${verb} secrets: not allowed`);
    };
    const files = await collected();
    expect(JSON.parse(files.get("manifest.json") ?? "").skipped).toEqual([
      { what: "values of Secrets, to look for them", why: expect.stringMatching(/not allowed/) },
      { what: "secrets", why: expect.stringMatching(/not allowed/) },
    ]);
    expect([...files.keys()]).toContain("namespace/backups.velero.io.json");
  });
});
