/** What the verbs on DataUploads and DataDownloads share. */
import type { DataDownload, DataUpload } from "@drayage/api";
import { type CoreEvent, events, type ResourceType } from "@drayage/kube";
import { describeDataMovement } from "../describe/data-movement.ts";
import type { Terminal } from "../terminal.ts";
import { type ClusterOptions, getNamed, withCluster } from "./access.ts";

const ENDED: ReadonlySet<string> = new Set(["Completed", "Failed", "Canceled"]);

export async function describeMovements<T extends DataUpload | DataDownload>(
  type: ResourceType<T>,
  names: readonly string[],
  options: ClusterOptions,
  terminal: Terminal,
): Promise<void> {
  await withCluster(options, terminal, async ({ client, namespace }) => {
    const texts: string[] = [];
    for (const name of names) {
      const object = await getNamed(client, type, { namespace, name }, terminal.signal);
      const about: CoreEvent[] = [];
      for await (const event of client.listAll(events, { namespace, fieldSelector: `involvedObject.name=${name}`, signal: terminal.signal })) about.push(event);
      texts.push(describeDataMovement(object, about, terminal.clock.nowMs()));
    }
    terminal.out(texts.join("\n\n"));
  });
}

/** Asks for cancellation; what has ended already is said, and left as it is. */
export async function cancelMovements<T extends DataUpload | DataDownload>(
  type: ResourceType<T>,
  names: readonly string[],
  options: ClusterOptions,
  terminal: Terminal,
): Promise<void> {
  await withCluster(options, terminal, async ({ client, namespace }) => {
    for (const name of names) {
      const object = await getNamed(client, type, { namespace, name }, terminal.signal);
      if (ENDED.has(object.status?.phase ?? "")) {
        terminal.out(`${type.kind} "${name}" has ended already: ${object.status?.phase}\n`);
        continue;
      }
      await client.patch(type, { namespace, name }, "merge", { spec: { cancel: true } }, { signal: terminal.signal });
      terminal.out(`${type.kind} "${name}" is asked to cancel\n`);
    }
  });
}
