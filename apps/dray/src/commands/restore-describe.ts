import { type DataDownload, dataDownloads, restores } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { downloadJson } from "../cluster/download.ts";
import { describeRestore, type RestoreDetails } from "../describe/restore.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly details?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "restores")
    .option("--details", "also what it did: operations and resources")
    .action((names: string[], options: Options) =>
      withCluster(options, terminal, async (access) => {
        const texts: string[] = [];
        for (const name of names) texts.push(await describe(name, options, access, terminal));
        terminal.out(texts.join("\n\n"));
      }),
    );
}

async function describe(name: string, options: Options, access: ClusterAccess, terminal: Terminal): Promise<string> {
  const { client, namespace } = access;
  const restore = await getNamed(client, restores, { namespace, name }, terminal.signal);
  const ended = ["Completed", "PartiallyFailed", "Failed"].includes(restore.status?.phase ?? "");
  let details: RestoreDetails = {};
  if (ended && ((restore.status?.errors ?? 0) > 0 || (restore.status?.warnings ?? 0) > 0)) {
    details = { ...details, results: await downloadJson<{ errors?: object; warnings?: object }>(access, "RestoreResults", name, terminal) };
  }
  if (!ended) {
    const downloads: DataDownload[] = [];
    for await (const download of client.listAll(dataDownloads, { namespace, labelSelector: `velero.io/restore-name=${name}`, signal: terminal.signal }))
      downloads.push(download);
    details = { ...details, downloads, nowMs: terminal.clock.nowMs() };
  } else if (options.details === true) {
    details = {
      ...details,
      operations: await downloadJson(access, "RestoreItemOperations", name, terminal),
      resourceList: await downloadJson(access, "RestoreResourceList", name, terminal),
      volumes: await downloadJson(access, "RestoreVolumeInfo", name, terminal),
    };
  }
  return describeRestore(restore, details);
}
