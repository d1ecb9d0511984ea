/** docs/movers.md: what every mover of this repository publishes, the built-in one and the worked examples. */
import { type DataMover, LOCATION_TARGET } from "@drayage/api";
import { systemClock, systemRandom } from "@drayage/base";
import { describeMover, type MoverDescription } from "@drayage/mover-sdk";
import { createBuiltInMover, openInStore } from "@drayage/movers/builtin";
import { parameterFacts } from "../apps/dray/src/describe/mover-parameters.ts";
import { programVersion } from "../apps/dray/src/version.ts";
import { registration as storageVendor } from "../packages/api/examples/storage-vendor/registration.ts";
import registryImages from "../packages/mover-sdk/examples/registry-images.ts";
import tarVolume from "../packages/mover-sdk/examples/tar-volume.ts";
import virtualMachine from "../packages/mover-sdk/examples/virtual-machine.ts";

const INTRODUCTION = `# Movers and their parameters

Written by \`tools/docs.ts\` from what the movers say of themselves. \`dray mover list\` shows those of a cluster, \`dray mover describe NAME\` the same as this page for one of them, \`dray mover explain NAME.PARAMETER\` more of one parameter.

Parameters are set where the mover is chosen, the first of these that says something:

| where | how |
|---|---|
| a volume policy | \`action: {type: snapshot, parameters: {dataMover: NAME, dataMoverParameters: {…}}}\` |
| the object that is moved | annotations \`drayage.io/data-mover: NAME\` and \`drayage.io/data-mover-parameters: '{…}'\` (JSON); the mover also as a label |
| a DataMoverClass | \`spec.mover\`, \`spec.parameters\`, for what \`spec.selector\` fits |
| a StorageClass or VolumeSnapshotClass | the two annotations |
| the Backup | \`spec.datamover\`, and the annotation with the parameters, which also hold where something else names the same mover |
| the default DataMoverClass | \`spec.default: true\` |

A name that the mover does not publish and a value that does not fit are refused with the path of the field: by the API server when the object is written, where an admission webhook is installed and its server runs, and in any case by the backup that would use them.`;

/** Where the source of an example is, seen from the page. */
const EXAMPLES = "../packages/mover-sdk/examples";

/** The page. */
export function moversPage(): string {
  const builtIn = createBuiltInMover({ version: programVersion(), clock: systemClock, open: openInStore({ clock: systemClock, random: systemRandom }) });
  return `${[
    INTRODUCTION,
    "## Built in",
    section(
      builtIn,
      "It is there in every installation. `velero`, `velero-fs` and no name at all mean it too; `velero-block` means it as well, and moves volumes of either mode as devices, in blocks of 1 MiB.",
    ),
    "## Worked examples",
    ...[
      section(tarVolume, source("tar-volume.ts")),
      section(registryImages, source("registry-images.ts")),
      section(virtualMachine, source("virtual-machine.ts")),
      section(described(storageVendor), "Its source is [`storage-vendor`](../packages/api/examples/storage-vendor/controller.ts), a controller of its own."),
    ],
  ].join("\n\n")}\n`;
}

/** What a registration says of a mover that is no module. */
function described({ metadata, spec }: DataMover): MoverDescription {
  const { cancel = false, progress = false, block = false, incremental = false, kinds } = spec.capabilities;
  return { ...spec, name: metadata.name ?? "", capabilities: { cancel, progress, block, incremental, kinds }, targets: spec.targets ?? [LOCATION_TARGET] };
}

function source(file: string): string {
  return `Its source is [\`${file}\`](${EXAMPLES}/${file}).`;
}

function section(mover: MoverDescription, remark: string): string {
  const { name, description, capabilities, targets, parameters } = describeMover(mover);
  const { kinds, ...flags } = capabilities;
  const can = Object.entries(flags).filter(([, holds]) => holds);
  const rows = parameterFacts(parameters).map(
    (parameter) => `| \`${parameter.name}\` | ${cell(parameter.facts.join(", "))} | ${cell(parameter.description)} |`,
  );
  return [
    `### ${name}`,
    "",
    `${description}. ${remark}`,
    "",
    `- Moves ${kinds.map((kind) => `\`${kind}\``).join(", ")} to ${targets.map((target) => `\`${target}\``).join(", ")}`,
    `- Can: ${can.length === 0 ? "none of cancel, progress, block, incremental" : can.map(([flag]) => flag).join(", ")}`,
    "",
    ...(rows.length === 0 ? ["It has no parameters."] : ["| parameter | values | meaning |", "|---|---|---|", ...rows]),
  ].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
