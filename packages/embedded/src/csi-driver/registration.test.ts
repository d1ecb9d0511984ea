import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger } from "@drayage/base";
import { socketAddress } from "@drayage/protocols/csi";
import { registrationService } from "@drayage/protocols/kubelet";
import { Client, credentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { registerDriver } from "./registration.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "registration-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What a kubelet does when a socket appears. */
async function ask(socketPath: string, method: "GetInfo" | "NotifyRegistrationStatus", request: object): Promise<object> {
  const client = new Client(socketAddress(socketPath).target, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = registrationService()[method] ?? expect.fail(`the service has no ${method}`);
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) =>
        error === null ? resolve(answer ?? {}) : reject(error),
      );
    });
  } finally {
    client.close();
  }
}

it("registerDriver() tells the kubelet name, socket and version, logs its answer, and takes the driver away again", async () => {
  const said: [string, object | undefined][] = [];
  const logger = {
    ...nullLogger,
    info: (text: string, fields?: object) => said.push([text, fields]),
    error: (text: string, fields?: object) => said.push([text, fields]),
  };
  const registration = await registerDriver({ name: "csi.test", socketPath: "/run/csi.sock" }, folder, logger as unknown as typeof nullLogger);
  const socket = join(folder, "csi.test-reg.sock");
  expect(await ask(socket, "GetInfo", {})).toEqual({ type: "CSIPlugin", name: "csi.test", endpoint: "/run/csi.sock", supportedVersions: ["1.0.0"] });
  await ask(socket, "NotifyRegistrationStatus", { pluginRegistered: false, error: "cannot dial" });
  await ask(socket, "NotifyRegistrationStatus", { pluginRegistered: true, error: "" });
  expect(said).toEqual([
    ["The kubelet refuses the driver", { driver: "csi.test", error: "cannot dial" }],
    ["The kubelet has taken the driver", { driver: "csi.test" }],
  ]);
  await registration.stop();
  expect(existsSync(socket)).toBe(false);
});
