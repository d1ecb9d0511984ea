/**
 * Takes the structure of Velero's plug-in services into packages/protocols/src/go-plugin/data: names, numbers and types. Comments and options stay behind.
 *
 *   node tools/import-velero-plugins.ts FOLDER            writes the data
 *   node tools/import-velero-plugins.ts --check FOLDER    fails when the data differ
 *
 * FOLDER is pkg/plugin/proto of the Go module github.com/vmware-tanzu/velero, v1.18.3. The one call of go-plugin itself, Shutdown, is added by hand.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import { withoutOptions } from "./import-csi.ts";

const target = join(import.meta.dirname, "..", "packages", "protocols", "src", "go-plugin", "data", "velero-plugins.json");
const WELL_KNOWN = ["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/empty.proto"] as const;
/** go-plugin's own way of ending a plug-in (internal/plugin/grpc_controller.proto of github.com/hashicorp/go-plugin). */
const CONTROLLER = 'syntax = "proto3"; package plugin; message Empty {} service GRPCController { rpc Shutdown(Empty) returns (Empty); }';
/** The health service of gRPC, which tells a plug-in that hangs from one that works (grpc/health/v1/health.proto). */
const HEALTH = `syntax = "proto3"; package grpc.health.v1; message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; } ServingStatus status = 1; }
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }`;

export function veleroPluginData(protos: readonly string[]): string {
  const root = new protobuf.Root();
  for (const name of WELL_KNOWN) root.addJSON(protobuf.common.get(name)?.nested ?? {});
  for (const proto of [...protos, CONTROLLER, HEALTH]) protobuf.parse(proto, root, { keepCase: true });
  return `${JSON.stringify(withoutOptions(root.toJSON() as never))}\n`;
}

if (import.meta.main) {
  const folder = process.argv.filter((argument) => argument !== "--check")[2];
  if (folder === undefined) {
    process.stderr.write("usage: node tools/import-velero-plugins.ts [--check] FOLDER\n");
    process.exitCode = 2;
  } else {
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".proto"))
      .sort();
    const data = veleroPluginData(files.map((name) => readFileSync(join(folder, name), "utf8")));
    if (!process.argv.includes("--check")) writeFileSync(target, data);
    else if (readFileSync(target, "utf8") !== data) {
      process.stderr.write(`${target} differs from what ${folder} gives\n`);
      process.exitCode = 1;
    }
  }
}
