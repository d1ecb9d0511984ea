/**
 * Example: a virtual machine, whose disks come over HTTP from whoever exports them (KubeVirt's export server, a proxy in front of a hypervisor) and go into the backup location as files
 * of the format that its parameter names; a restore sends them back. What a machine is made of stands in its resource.
 *
 *   <id>/<disk>.raw | <id>/<disk>.qcow2
 */
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DrayError } from "@drayage/base";
import type { DataMover, MoverContext, MoverSource } from "@drayage/mover-sdk";
import { openQcow2, writeQcow2 } from "./qcow2.ts";

type Format = "raw" | "qcow2";

/** KubeVirt's VirtualMachine, as far as it matters here. */
interface VirtualMachine {
  readonly spec?: {
    readonly template?: {
      readonly spec?: { readonly volumes?: readonly { readonly name: string; readonly dataVolume?: object; readonly persistentVolumeClaim?: object }[] };
    };
  };
}

const mover: DataMover = {
  name: "virtual-machines",
  version: "1.0.0",
  description: "Disks of virtual machines, exported as files",
  capabilities: { kinds: ["virtualmachines.kubevirt.io"], cancel: true, progress: true, block: false, incremental: false },
  targets: ["BackupStorageLocation"],
  parameters: {
    type: "object",
    required: ["server"],
    properties: {
      format: { type: "string", enum: ["raw", "qcow2"], default: "qcow2", description: "Type of the files; qcow2 leaves zeros out" },
      server: {
        type: "string",
        pattern: "^https?://",
        description: "Where disks are exported from and sent to: GET and PUT of <server>/<namespace>/<machine>/<disk>, raw, with their length",
      },
    },
  },

  async validate(source) {
    return disksOf(source).length === 0 ? [`${source.kind} "${source.name}" has no disk that outlives it`] : [];
  },

  async backup(context) {
    const { id, source, target, parameters, workspace, signal, progress } = context;
    const format = parameters["format"] as Format;
    const disks = disksOf(source);
    let [totalBytes, incrementalBytes] = [0, 0];
    for (const disk of disks) {
      const file = join(workspace, `${disk}.${format}`);
      const { size, data } = await exportDisk(context, disk);
      if (format === "raw") await pipeline(Readable.from(data), createWriteStream(file), { signal });
      else await writeQcow2(file, size, data);
      await target.store.putFile(`${id}/${disk}.${format}`, file, signal);
      totalBytes += size;
      incrementalBytes += statSync(file).size;
      progress({ totalBytes: 0, doneBytes: totalBytes });
    }
    return { snapshotId: id, totalBytes, incrementalBytes, result: { format, disks: disks.join(",") } };
  },

  async restore(context) {
    const { moved, target, workspace, signal, progress } = context;
    const { format = "raw", disks = "" } = moved.result ?? {};
    let totalBytes = 0;
    for (const disk of disks.split(",").filter((name) => name !== "")) {
      const file = join(workspace, `${disk}.${format}`);
      await pipeline(Readable.from(await target.store.getStream(`${moved.snapshotId}/${disk}.${format}`, signal)), createWriteStream(file), { signal });
      totalBytes += await importDisk(context, disk, file, format as Format);
      progress({ totalBytes: 0, doneBytes: totalBytes });
    }
    return { totalBytes };
  },

  async delete({ id, target, signal }) {
    for await (const { key } of target.store.list(`${id}/`, signal)) await target.store.delete(key, signal);
  },
};

export default mover;

/** Names of disks become part of keys and of addresses; Kubernetes lets them be DNS labels alone. */
function disksOf({ object }: MoverSource): readonly string[] {
  const volumes = (object as VirtualMachine | undefined)?.spec?.template?.spec?.volumes ?? [];
  return volumes.filter(({ dataVolume, persistentVolumeClaim }) => dataVolume !== undefined || persistentVolumeClaim !== undefined).map(({ name }) => name);
}

async function exportDisk(context: MoverContext, disk: string): Promise<{ readonly size: number; readonly data: AsyncIterable<Uint8Array> }> {
  const url = urlOf(context, disk);
  const response = await fetch(url, { signal: context.signal });
  const size = Number(response.headers.get("content-length") ?? "-1");
  if (!response.ok || response.body === null) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot export "${url}": the server answered ${response.status}`);
  if (!Number.isSafeInteger(size) || size < 0)
    throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot export "${url}": the server does not say how large the disk is`);
  return { size, data: response.body };
}

async function importDisk(context: MoverContext, disk: string, file: string, format: Format): Promise<number> {
  if (format === "raw") {
    const { size } = statSync(file);
    await send(context, disk, size, createReadStream(file));
    return size;
  }
  const image = openQcow2(file);
  try {
    await send(context, disk, image.size, Readable.from(image.data()));
    return image.size;
  } finally {
    image.close();
  }
}

async function send(context: MoverContext, disk: string, size: number, data: Readable): Promise<void> {
  const url = urlOf(context, disk);
  const body = Readable.toWeb(data) as ReadableStream<Uint8Array>;
  const response = await fetch(url, { method: "PUT", headers: { "content-length": String(size) }, body, duplex: "half", signal: context.signal });
  if (!response.ok) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot import "${url}": the server answered ${response.status}`);
}

function urlOf({ parameters, source }: MoverContext, disk: string): string {
  return `${String(parameters["server"])}/${[source.namespace ?? "", source.name, disk].map(encodeURIComponent).join("/")}`;
}
