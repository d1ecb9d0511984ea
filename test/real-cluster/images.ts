/** The images of the real cluster, made of files here since there is no registry: the program's as it is shipped, and one with the machine's ordinary tools for applications and for the sandboxes of pods. */
import { existsSync, realpathSync, renameSync } from "node:fs";
import { join } from "node:path";
import { file, libraryClosure } from "../../tools/image/base-files.ts";
import { type LayerEntry, makeLayer } from "../../tools/image/layer.ts";
import { imageLayout, writeArchive } from "../../tools/image/oci-layout.ts";
import { buildImage, partsOf } from "../../tools/image.ts";
import { peer } from "../compat/peers.ts";

export const PROGRAM_IMAGE = "drayage/dray:e2e";
export const TOOLS_IMAGE = "busybox:latest";

/** What applications of the scenarios run. */
const TOOLS =
  "sh base64 blockdev cat chmod chown cp cut date dd echo find head id ln ls md5sum mkdir mv printf readlink rm rmdir seq sha256sum sleep sort stat sync tail test touch tr truncate true wc".split(
    " ",
  );
const FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/** Archives for `ctr images import`, made once in a folder. */
export async function imageArchives(folder: string): Promise<readonly string[]> {
  const program = join(folder, "program.tar");
  const tools = join(folder, "tools.tar");
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const parts = partsOf(architecture);
  const write = async (path: string, files: Parameters<typeof writeArchive>[1]): Promise<void> => {
    await writeArchive(`${path}.new`, files);
    renameSync(`${path}.new`, path);
  };
  if (!existsSync(program)) await write(program, await buildImage({ name: PROGRAM_IMAGE, platforms: [parts], compression: 0 }));
  if (!existsSync(tools)) {
    const programs = TOOLS.map((name) => ({ name, source: locate(name) }));
    const entries: LayerEntry[] = [
      ...programs.map(({ name, source }) => file(`/bin/${name}`, 0o755, { source })),
      ...[
        ...libraryClosure(
          parts,
          programs.map(({ source }) => source),
        ),
      ].map(([path, source]) => file(path, 0o755, { source })),
      { path: "/tmp", type: "directory", mode: 0o1777 },
    ];
    const config = { entrypoint: ["/bin/sleep", "infinity"], user: "0:0", env: ["PATH=/bin"], labels: {} };
    await write(tools, imageLayout(TOOLS_IMAGE, config, [{ architecture, layers: [await makeLayer(entries, 0)] }]));
  }
  return [tools, program];
}

/** An archive of one layer with programs of ../shared/peers in its root, as `localhost/NAME:1`, and what else they are to find there. */
export async function peerImage(
  folder: string,
  name: string,
  {
    entrypoint,
    programs,
    tools = [],
  }: { readonly entrypoint: readonly string[]; readonly programs: readonly Parameters<typeof peer>[0][]; readonly tools?: readonly string[] },
): Promise<string> {
  const parts = partsOf(process.arch === "arm64" ? "arm64" : "amd64");
  const found = tools.map((tool) => ({ tool, source: locate(tool) }));
  const sources = found.map(({ source }) => source);
  const entries: LayerEntry[] = [
    ...programs.map((program) => file(`/${program}`, 0o755, { source: peer(program) })),
    ...found.map(({ tool, source }) => file(`/bin/${tool}`, 0o755, { source })),
    ...[...libraryClosure(parts, sources)].map(([path, source]) => file(path, 0o755, { source })),
    { path: "/tmp", type: "directory", mode: 0o1777 },
  ];
  const config = { entrypoint, user: "0:0", env: ["PATH=/bin:/"], labels: {} };
  const layer = await makeLayer(entries, 0);
  const path = join(folder, `${name}.tar`);
  await writeArchive(path, imageLayout(`localhost/${name}:1`, config, [{ architecture: parts.architecture, layers: [layer] }]));
  return path;
}

function locate(name: string): string {
  const found = FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`Cannot make the image of tools: this machine has no "${name}"`);
  return realpathSync(found);
}
