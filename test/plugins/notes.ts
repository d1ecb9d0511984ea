/** A plug-in for Velero, of one action, without Velero's framework: it speaks go-plugin by itself. For tests in which a plug-in runs in a pod. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { HANDSHAKE, pluginServices } from "@drayage/protocols/go-plugin";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";

const NAME = "example.com/notes";

interface ExecuteRequest {
  readonly item: Uint8Array;
}

type Answer = sendUnaryData<object>;

if (process.env[HANDSHAKE.cookieName] !== HANDSHAKE.cookieValue) {
  process.stderr.write("This is a plug-in, which its host starts.\n");
  process.exit(1);
}

const server = new Server();
const services = pluginServices();
server.addService(services.PluginLister, {
  ListPlugins: (_call: unknown, answer: Answer) => answer(null, { plugins: [{ command: "notes", kind: "BackupItemAction", name: NAME }] }),
});
server.addService(services.BackupItemAction, {
  AppliesTo: (_call: unknown, answer: Answer) => answer(null, { ResourceSelector: { includedResources: ["configmaps"], selector: "noted=yes" } }),
  Execute: ({ request }: ServerUnaryCall<ExecuteRequest, object>, answer: Answer) => {
    const item = JSON.parse(Buffer.from(request.item).toString("utf8")) as { metadata: { annotations?: Record<string, string> } };
    item.metadata.annotations = { ...item.metadata.annotations, [NAME]: "was here" };
    answer(null, { item: Buffer.from(JSON.stringify(item)), additionalItems: [] });
  },
});
server.addService(services.Controller, {
  Shutdown: (_call: unknown, answer: Answer) => {
    answer(null, {});
    server.forceShutdown();
  },
});
const socket = join(mkdtempSync(join(process.env["PLUGIN_UNIX_SOCKET_DIR"] ?? "/tmp", "s")), "plugin");
server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.stdout.write(`${HANDSHAKE.coreVersion}|${HANDSHAKE.protocolVersion}|unix|${socket}|${HANDSHAKE.transport}|\n`);
});
