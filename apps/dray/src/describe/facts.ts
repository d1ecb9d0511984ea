/** The layout of `describe`: labels in a column, values beside them, sections below each other, as Velero's CLI prints them. */

/** Labels and values, aligned; a value of several lines goes on below itself; an empty row is an empty line. */
export function formatFacts(rows: readonly (readonly [label: string, value: string] | undefined)[], indent = ""): string {
  const width = Math.max(0, ...rows.map((row) => (row === undefined ? 0 : row[0].length)));
  return rows
    .map((row) => {
      if (row === undefined) return "\n";
      const [label, value] = row;
      const [first = "", ...more] = value.split("\n");
      const pad = " ".repeat(width + 3);
      return [`${indent}${`${label}:`.padEnd(width + 1)}  ${first}`.trimEnd(), ...more.map((line) => `${indent}${pad}${line}`)]
        .map((line) => `${line}\n`)
        .join("");
    })
    .join("");
}

/** Labels or annotations, one a line. */
export function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  const lines = Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  return lines.length === 0 ? "<none>" : lines.join("\n");
}

export function formatList(values: readonly string[] | null | undefined, empty = "<none>"): string {
  return values === undefined || values === null || values.length === 0 ? empty : values.join(", ");
}

/** Velero prints times as Go does: `2026-11-21 04:10:42 +0000 UTC`. */
export function formatGoTime(text: string | null | undefined, none = "<n/a>"): string {
  if (text === undefined || text === null || text === "") return none;
  return text.replace("T", " ").replace(/(\.\d+)?Z$/, " +0000 UTC");
}

/** `auto`, `true` or `false`. */
export function formatTristate(value: boolean | null | undefined, unset = "auto"): string {
  return value === undefined || value === null ? unset : String(value);
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[];
}

export function formatSelector(selector: unknown): string {
  if (typeof selector !== "object" || selector === null) return "<none>";
  const { matchLabels, matchExpressions } = selector as Selector;
  const parts = [
    ...Object.entries(matchLabels ?? {}).map(([key, value]) => `${key}=${value}`),
    ...(matchExpressions ?? []).map(({ key, operator, values }) => {
      if (operator === "Exists") return key;
      if (operator === "DoesNotExist") return `!${key}`;
      return `${key} ${operator.toLowerCase()} (${(values ?? []).join(",")})`;
    }),
  ];
  return parts.length === 0 ? "<none>" : parts.join(",");
}

interface Messages {
  readonly velero?: readonly string[] | null;
  readonly cluster?: readonly string[] | null;
  readonly namespaces?: Readonly<Record<string, readonly string[]>> | null;
}

/** Errors or warnings by where they belong. */
export function formatMessages(title: string, messages: Messages | undefined): string {
  const block = (values: readonly string[] | null | undefined): string =>
    values === undefined || values === null || values.length === 0 ? "<none>" : values.join("\n");
  const namespaces = Object.entries(messages?.namespaces ?? {});
  const rows = [
    ["Velero", block(messages?.velero)] as const,
    ["Cluster", block(messages?.cluster)] as const,
    ["Namespaces", namespaces.length === 0 ? "<none>" : ""] as const,
  ];
  return `${title}:\n${formatFacts(rows, "  ")}${namespaces.map(([name, values]) => formatFacts([[name, block(values)]], "    ")).join("")}`;
}

/** The errors and warnings of `-results.gz`, as far as the status counts any. */
export function formatResults(
  status: { readonly errors?: number; readonly warnings?: number } | undefined,
  results: { readonly errors?: object; readonly warnings?: object } | undefined,
): string[] {
  if (results === undefined) return [];
  return [
    ...((status?.errors ?? 0) > 0 ? [formatMessages("Errors", results.errors)] : []),
    ...((status?.warnings ?? 0) > 0 ? [formatMessages("Warnings", results.warnings)] : []),
  ];
}

/** A volume that is read or written through the pod that mounts it. */
export interface PodVolumeInfo {
  readonly podNamespace: string;
  readonly podName: string;
  readonly volumeName: string;
  readonly uploaderType: string;
  readonly size?: number;
  readonly Phase?: string;
}

/** Pod volumes by their uploader and by how they ended; `{type}` in the title is the uploader. */
export function formatPodVolumes(title: string, volumes: readonly PodVolumeInfo[], indent: string): string[] {
  return [...Map.groupBy(volumes, ({ uploaderType }) => uploaderType)].flatMap(([type, ofType]) => [
    `${indent}${title.replace("{type}", type)}:`,
    // A restore writes its record when the volume is there, without a phase.
    ...[...Map.groupBy(ofType, ({ Phase }) => (Phase === undefined || Phase === "" ? "Completed" : Phase))].flatMap(([phase, ofPhase]) => [
      `${indent}  ${phase}:`,
      ...ofPhase.map(
        ({ podNamespace, podName, volumeName, size }) =>
          `${indent}    ${podNamespace}/${podName}: ${volumeName}${size === undefined ? "" : ` (size: ${size})`}`,
      ),
    ]),
  ]);
}

interface Operation {
  readonly spec: {
    readonly backupItemAction?: string;
    readonly restoreItemAction?: string;
    readonly operationID: string;
    readonly resourceIdentifier: { Resource: string; Namespace: string; Name: string };
    readonly postOperationItems?: readonly { Group: string; Resource: string; Namespace: string; Name: string }[];
  };
  readonly status: {
    readonly phase: string;
    readonly error?: string;
    readonly nCompleted?: number;
    readonly nTotal?: number;
    readonly operationUnits?: string;
    readonly description?: string;
    readonly created?: string;
    readonly started?: string;
    readonly updated?: string;
  };
}

/** The asynchronous operations of a backup or a restore, one block each. */
export function formatOperations(operations: readonly Operation[], verb: "Backup" | "Restore"): string {
  return operations
    .map(({ spec, status }) => {
      const { Resource, Namespace, Name } = spec.resourceIdentifier;
      const items = (spec.postOperationItems ?? []).map(
        (item) => `${item.Resource}${item.Group === "" ? "" : `.${item.Group}`} ${item.Namespace}/${item.Name}`,
      );
      return `  Operation for ${Resource} ${Namespace}/${Name}:\n${formatFacts(
        [
          [`${verb} Item Action Plugin`, spec.backupItemAction ?? spec.restoreItemAction ?? ""],
          ["Operation ID", spec.operationID],
          ...(items.length === 0 ? [] : [["Items to Update", items.join("\n")] as const]),
          ["Phase", status.phase],
          ...(status.error === undefined || status.error === "" ? [] : [["Operation Error", status.error] as const]),
          ...(status.nTotal === undefined || status.nTotal === 0
            ? []
            : [["Progress", `${status.nCompleted ?? 0} of ${status.nTotal} complete (${status.operationUnits ?? "Bytes"})`] as const]),
          ["Progress description", status.description ?? ""],
          ["Created", formatGoTime(status.created)],
          ["Started", formatGoTime(status.started)],
          ["Updated", formatGoTime(status.updated)],
        ],
        "    ",
      )}`;
    })
    .join("");
}

/** `-resource-list.json.gz`: kinds, and below them the items. */
export function formatResourceList(list: Readonly<Record<string, readonly string[]>>): string {
  return `Resource List:\n${Object.keys(list)
    .sort()
    .map(
      (kind) =>
        `  ${kind}:\n${[...(list[kind] ?? [])]
          .sort()
          .map((item) => `    - ${item}\n`)
          .join("")}`,
    )
    .join("")}`;
}
