/**
 * Takes the structure of the Kubernetes API into packages/protocols/src/kubernetes/data: what is served (resources.json), the schemas of the built-in kinds (schemas.json)
 * and the numbers of their protobuf form (protobuf.json). Names, numbers and types only; descriptions and messages are dropped.
 *
 *   node tools/import-kubernetes-openapi.ts --server URL --token TOKEN --modules FOLDER [--out FOLDER]
 *   node tools/import-kubernetes-openapi.ts --kubeconfig FILE …
 *
 * The server is a running kube-apiserver of the wanted version; the modules' folder holds `k8s.io/api@v…`, `apimachinery@v…`, `apiextensions-apiserver@v…` and `kube-aggregator@v…` as `go mod download` lays them out.
 */
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

const { values } = parseArgs({
  options: { server: { type: "string" }, token: { type: "string" }, kubeconfig: { type: "string" }, modules: { type: "string" }, out: { type: "string" } },
});
const target = values.out ?? join(import.meta.dirname, "..", "packages", "protocols", "src", "kubernetes", "data");

/** How to reach the server: by a client certificate, or by a token, then without a look at the server's own certificate. */
type Connection = { readonly server: string } & ({ readonly ca: string; readonly cert: string; readonly key: string } | { readonly token: string });

/** The current context's server with its client certificate. */
function connectionOf(kubeconfigPath: string): Connection {
  const config = parse(readFileSync(kubeconfigPath, "utf8")) as {
    clusters: { cluster: Record<string, string> }[];
    users: { user: Record<string, string> }[];
  };
  const decode = (text: string | undefined): string => Buffer.from(text ?? "", "base64").toString("utf8");
  const cluster = config.clusters[0]?.cluster ?? {};
  const user = config.users[0]?.user ?? {};
  return {
    server: cluster["server"] ?? "",
    ca: decode(cluster["certificate-authority-data"]),
    cert: decode(user["client-certificate-data"]),
    key: decode(user["client-key-data"]),
  };
}

function fetchJson(connection: Connection, path: string, accept = "application/json"): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const { server, ...credentials } = connection;
    const access =
      "token" in credentials
        ? { rejectUnauthorized: false, headers: { accept, authorization: `Bearer ${credentials.token}` } }
        : { ...credentials, headers: { accept } };
    const call = request(new URL(path, server), access, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("end", () => {
        const text = Buffer.concat(parts).toString("utf8");
        if (answer.statusCode === 200) resolve(JSON.parse(text) as JsonObject);
        else reject(new Error(`GET ${path}: ${answer.statusCode} ${text.slice(0, 200)}`));
      });
    });
    call.on("error", reject);
    call.end();
  });
}

/** The schema without texts: `description` everywhere but among property names, and the `message` of validation rules. */
function structureOf(node: Json, insideProperties = false): Json {
  if (Array.isArray(node)) return node.map((child) => structureOf(child));
  if (node === null || typeof node !== "object") return node;
  const out: JsonObject = {};
  for (const [key, child] of Object.entries(node)) {
    if (!insideProperties && typeof child === "string" && (key === "description" || (key === "message" && "rule" in node))) continue;
    out[key] = structureOf(child, !insideProperties && key === "properties");
  }
  return out;
}

/** One entry a line, so that a change of the API is a readable diff. */
function writeTable(name: string, entries: readonly (readonly [string, Json])[]): void {
  mkdirSync(target, { recursive: true });
  const lines = entries.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`);
  writeFileSync(join(target, name), `{\n${lines.join(",\n")}\n}\n`);
}

const byKey = (a: readonly [string, Json], b: readonly [string, Json]): number => (a[0] < b[0] ? -1 : 1);

interface DiscoveredVersion {
  version: string;
  resources: {
    resource: string;
    responseKind: { kind: string };
    scope: string;
    singularResource: string;
    verbs: string[];
    shortNames?: string[];
    categories?: string[];
    subresources?: { subresource: string; responseKind: { group: string; version: string; kind: string }; verbs: string[] }[];
  }[];
}

async function importSchemas(connection: Connection): Promise<void> {
  const index = (await fetchJson(connection, "/openapi/v3"))["paths"] as Record<string, { serverRelativeURL: string }>;
  const schemas = new Map<string, Json>();
  for (const [path, { serverRelativeURL }] of Object.entries(index)) {
    if (!/^apis?\/.*v\d/.test(path)) continue;
    const document = await fetchJson(connection, serverRelativeURL);
    const found = (document["components"] as { schemas?: Record<string, Json> } | undefined)?.schemas ?? {};
    for (const [name, schema] of Object.entries(found)) schemas.set(name, structureOf(schema));
  }
  writeTable("schemas.json", [...schemas].sort(byKey));

  const kindSchemas = new Map<string, string>();
  for (const [name, schema] of schemas) {
    for (const gvk of ((schema as JsonObject)["x-kubernetes-group-version-kind"] ?? []) as { group: string; version: string; kind: string }[])
      if (((schema as JsonObject)["x-kubernetes-group-version-kind"] as Json[]).length === 1) kindSchemas.set(`${gvk.group}/${gvk.version}/${gvk.kind}`, name);
  }
  const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const rows: [string, Json][] = [];
  for (const root of ["/api", "/apis"]) {
    const groups = (await fetchJson(connection, root, aggregated))["items"] as unknown as { metadata: { name?: string }; versions: DiscoveredVersion[] }[];
    for (const item of groups) {
      const group = item.metadata.name ?? "";
      for (const { version, resources } of item.versions) {
        for (const it of resources) {
          const kind = it.responseKind.kind;
          rows.push([
            `${group}/${version}/${it.resource}`,
            {
              kind,
              singular: it.singularResource,
              namespaced: it.scope === "Namespaced",
              verbs: it.verbs,
              ...(it.shortNames === undefined ? {} : { shortNames: it.shortNames }),
              ...(it.categories === undefined ? {} : { categories: it.categories }),
              ...(it.subresources === undefined
                ? {}
                : {
                    subresources: it.subresources.map(({ subresource, responseKind, verbs }) => ({
                      name: subresource,
                      verbs,
                      // An empty group and version mean those of the resource itself.
                      ...(responseKind.kind === kind && responseKind.version === "" ? {} : { kind: responseKind }),
                    })),
                  }),
              ...(kindSchemas.has(`${group}/${version}/${kind}`) ? { schema: kindSchemas.get(`${group}/${version}/${kind}`) ?? "" } : {}),
            },
          ]);
        }
      }
    }
  }
  writeTable("resources.json", rows);
}

/** What a Go field's tags say beyond the descriptor: the JSON name ("" when its fields are inlined), whether it is a pointer, and what leaves it out of JSON. */
interface FieldFacts {
  readonly json: string;
  readonly pointer: boolean;
  readonly omitEmpty: boolean;
  readonly omitZero: boolean;
}

/** Facts of every field with a protobuf tag, by `Type.number`. */
function fieldFacts(folder: string): Map<string, FieldFacts> {
  const facts = new Map<string, FieldFacts>();
  for (const file of globSync("*.go", { cwd: folder })) {
    if (file.endsWith("_test.go") || file.startsWith("generated.") || file.startsWith("zz_generated")) continue;
    let type = "";
    for (const line of readFileSync(join(folder, file), "utf8").split("\n")) {
      type = /^type (\w+) struct \{/.exec(line)?.[1] ?? type;
      const field = /^\t(?:\w+\s+)?(\*?)[\w.[\]*{}]+\s+`json:"([^"]*)"(?:[^`]*?)protobuf:"\w+,(\d+),/.exec(line);
      if (field === null) continue;
      const [json = "", ...options] = (field[2] ?? "").split(",");
      facts.set(`${type}.${field[3]}`, {
        json: options.includes("inline") ? "" : json,
        pointer: field[1] === "*",
        omitEmpty: options.includes("omitempty"),
        omitZero: options.includes("omitzero"),
      });
    }
  }
  return facts;
}

const FIELD = /^ {2}(optional|repeated|required)? ?(map<\w+, ?\.?[\w.]+>|\.?[\w.]+) (\w+) = (\d+);/;

/**
 * Messages of one `generated.proto`: each field is `[number, JSON name, type, flags]`. Flags: `r` repeated, `m` map (type is that of the values), `p` a pointer, so that its zero
 * means something, `a` always in the JSON form. Go's omitempty leaves no struct out that is held by value; omitzero does.
 */
function messagesOf(folder: string, into: Map<string, Json>): void {
  const text = readFileSync(join(folder, "generated.proto"), "utf8");
  const protoPackage = /^package ([\w.]+);/m.exec(text)?.[1] ?? "";
  const facts = fieldFacts(folder);
  let message = "";
  let fields: Json[] = [];
  for (const line of text.split("\n")) {
    const opened = /^message (\w+) \{/.exec(line);
    if (opened !== null) {
      message = opened[1] ?? "";
      fields = [];
    } else if (line === "}" && message !== "") {
      into.set(`${protoPackage}.${message}`, fields);
      message = "";
    } else if (message !== "") {
      const field = FIELD.exec(line);
      if (field === null) continue;
      const map = /^map<\w+, ?\.?([\w.]+)>$/.exec(field[2] ?? "");
      const type = (map?.[1] ?? field[2] ?? "").replace(/^\./, "");
      const known = facts.get(`${message}.${field[4]}`);
      const qualified = /^[A-Z]/.test(type) ? `${protoPackage}.${type}` : type;
      const repeated = field[1] === "repeated";
      const struct = !repeated && map === null && !known?.pointer && /\./.test(qualified);
      const always = known !== undefined && known.json !== "" && !known.omitZero && (struct || !known.omitEmpty);
      const flags = `${repeated ? "r" : ""}${map === null ? "" : "m"}${known?.pointer === true ? "p" : ""}${always ? "a" : ""}`;
      fields.push([Number(field[4]), known?.json ?? field[3] ?? "", qualified, ...(flags === "" ? [] : [flags])]);
    }
  }
}

function importProtobuf(modules: string): void {
  const messages = new Map<string, Json>();
  const folders = ["api", "apimachinery", "apiextensions-apiserver", "kube-aggregator"].flatMap((module) =>
    globSync(`${module}@*/**/generated.proto`, { cwd: modules })
      .filter((path) => !/beta|alpha|testapigroup|imagepolicy|extensions\/v1$|example/.test(path))
      .map((path) => join(modules, path, "..")),
  );
  for (const folder of folders) if (existsSync(folder)) messagesOf(folder, messages);
  writeTable("protobuf.json", [...messages].sort(byKey));
}

if (values.server !== undefined) await importSchemas({ server: values.server, token: values.token ?? "" });
if (values.kubeconfig !== undefined) await importSchemas(connectionOf(values.kubeconfig));
if (values.modules !== undefined) importProtobuf(values.modules);
