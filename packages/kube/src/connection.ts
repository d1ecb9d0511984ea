/**
 * Where the API server is and how to prove who is asking: from a kubeconfig or from the service account of the pod one runs in.
 * Certificates, tokens, token files and passwords are read here; exec plug-ins and auth providers (OIDC) go through client-node, loaded only then since it costs 0.7 s and 88 MB.
 */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { type Clock, DrayError, messageOf } from "@drayage/base";
import { parse as parseYaml } from "yaml";

export interface ConnectionSource {
  /** A kubeconfig file. */
  readonly kubeconfigPath?: string | undefined;
  /** A kubeconfig as text; relative paths in it are relative to the working directory. */
  readonly kubeconfig?: string | undefined;
  /** Take the service account of this pod. */
  readonly inCluster?: boolean | undefined;
  /** A context of the kubeconfig instead of its current one. */
  readonly context?: string | undefined;
  /** Environment in which KUBECONFIG, HOME and the service's address are looked up; the process's own when left out. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/** What is presented to the server with each request. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly cert?: string;
  readonly key?: string;
}

export interface Connection {
  /** `https://host:port` with an optional path, without a slash at its end. */
  readonly server: string;
  /** For messages: the kubeconfig's context, or `in-cluster`. */
  readonly contextName: string;
  /** The context's namespace; `default` when it names none. */
  readonly namespace: string;
  readonly ca: string | undefined;
  readonly skipVerify: boolean;
  /** The name the server's certificate must carry where it is not that of the address. */
  readonly tlsServerName: string | undefined;
  readonly proxyUrl: string | undefined;
  credentials(): Promise<Credentials>;
  /** Forgets what was cached, after the server said 401. */
  invalidate(): void;
}

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** A projected token is renewed well before it ends; a minute is what client-go keeps it for. */
const TOKEN_KEPT_MS = 60_000;

/**
 * Finds and reads the connection as kubectl does: what was given, else the files of $KUBECONFIG merged, else ~/.kube/config, else the pod's service account.
 * Throws KUBE_CONFIG, naming file and entry.
 */
export function loadConnection(source: ConnectionSource, clock: Clock): Connection {
  const env = source.env ?? process.env;
  if (source.inCluster === true) return inClusterConnection(env, clock);
  if (source.kubeconfig !== undefined) {
    return kubeconfigConnection([{ path: "kubeconfig", folder: process.cwd(), text: source.kubeconfig }], source.context, clock);
  }
  if (source.kubeconfigPath !== undefined) return kubeconfigConnection([readConfig(source.kubeconfigPath)], source.context, clock);
  const named = (env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  const listed = named.filter((path) => existsSync(path));
  // Never on to ~/.kube/config: that is another cluster than the one that was meant.
  if (named.length > 0 && listed.length === 0) {
    throw new DrayError("KUBE_CONFIG", `Cannot read kubeconfig "${named.join(delimiter)}": it is not there`, {
      hint: "KUBECONFIG names it; correct or unset KUBECONFIG.",
    });
  }
  const home = join(env["HOME"] ?? homedir(), ".kube", "config");
  const paths = listed.length > 0 ? listed : existsSync(home) ? [home] : [];
  if (paths.length > 0) return kubeconfigConnection(paths.map(readConfig), source.context, clock);
  if (env["KUBERNETES_SERVICE_HOST"] !== undefined) return inClusterConnection(env, clock);
  throw new DrayError("KUBE_CONFIG", "Cannot find a Kubernetes cluster: there is no kubeconfig, and this is not a pod", {
    context: { absent: true },
    hint: "Give --kubeconfig, set KUBECONFIG, or start a cluster of your own with `dray cluster up`.",
  });
}

interface ConfigText {
  readonly path: string;
  readonly folder: string;
  readonly text: string;
}

function readConfig(path: string): ConfigText {
  try {
    return { path, folder: dirname(resolve(path)), text: readFileSync(path, "utf8") };
  } catch (cause) {
    throw new DrayError("KUBE_CONFIG", `Cannot read kubeconfig "${path}": ${messageOf(cause)}`, { cause });
  }
}

function inClusterConnection(env: Readonly<Record<string, string | undefined>>, clock: Clock): Connection {
  const host = env["KUBERNETES_SERVICE_HOST"];
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (host === undefined || host === "") {
    throw new DrayError("KUBE_CONFIG", "Cannot use the pod's service account: KUBERNETES_SERVICE_HOST is not set", {
      hint: "Give --kubeconfig when this is not a pod.",
    });
  }
  const namespaceFile = join(SERVICE_ACCOUNT, "namespace");
  const token = tokenFile(join(SERVICE_ACCOUNT, "token"), clock);
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    contextName: "in-cluster",
    namespace: existsSync(namespaceFile) ? readFileSync(namespaceFile, "utf8").trim() : "default",
    ca: readRequired(join(SERVICE_ACCOUNT, "ca.crt"), "the cluster's CA"),
    skipVerify: false,
    tlsServerName: undefined,
    proxyUrl: undefined,
    credentials: async () => ({ headers: { authorization: `Bearer ${await token.read()}` } }),
    invalidate: token.forget,
  };
}

/** The entries of a kubeconfig that matter here. Unknown ones are ignored. */
interface Cluster {
  readonly server?: string;
  readonly "certificate-authority"?: string;
  readonly "certificate-authority-data"?: string;
  readonly "insecure-skip-tls-verify"?: boolean;
  readonly "tls-server-name"?: string;
  readonly "proxy-url"?: string;
}

interface User {
  readonly "client-certificate"?: string;
  readonly "client-certificate-data"?: string;
  readonly "client-key"?: string;
  readonly "client-key-data"?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly username?: string;
  readonly password?: string;
  readonly as?: string;
  readonly "as-uid"?: string;
  readonly "as-groups"?: readonly string[];
  readonly exec?: unknown;
  readonly "auth-provider"?: unknown;
}

interface Context {
  readonly cluster?: string;
  readonly user?: string;
  readonly namespace?: string;
}

interface Kubeconfig {
  readonly "current-context"?: string;
  readonly clusters?: readonly { readonly name: string; readonly cluster: Cluster }[];
  readonly users?: readonly { readonly name: string; readonly user: User }[];
  readonly contexts?: readonly { readonly name: string; readonly context: Context }[];
}

/** One entry with the folder of the file it stood in. */
interface Found<T> {
  readonly value: T;
  readonly folder: string;
  readonly path: string;
}

function kubeconfigConnection(texts: readonly ConfigText[], wantedContext: string | undefined, clock: Clock): Connection {
  const configs = texts.map((text) => ({ ...text, config: parseConfig(text) }));
  const where = texts.map(({ path }) => path).join(delimiter);
  const find = <T>(kind: string, name: string, entries: (config: Kubeconfig) => T | undefined): Found<T> => {
    // Merging as kubectl does: the first file that has an entry wins.
    for (const { config, folder, path } of configs) {
      const value = entries(config);
      if (value !== undefined) return { value, folder, path };
    }
    const known = kind === "context" ? configs.flatMap(({ config }) => (config.contexts ?? []).map((entry) => entry.name)) : [];
    throw new DrayError("KUBE_CONFIG", `Cannot use kubeconfig "${where}": it has no ${kind} "${name}"`, {
      ...(known.length === 0 ? {} : { hint: `There are: ${known.join(", ")}.` }),
    });
  };

  const contextName = wantedContext ?? configs.map(({ config }) => config["current-context"]).find((name) => name !== undefined && name !== "");
  if (contextName === undefined) {
    throw new DrayError("KUBE_CONFIG", `Cannot use kubeconfig "${where}": it names no current context`, {
      hint: "Give --context, or run `kubectl config use-context`.",
    });
  }
  const context = find("context", contextName, (config) => config.contexts?.find(({ name }) => name === contextName)?.context).value;
  const clusterName = context.cluster ?? "";
  const cluster = find("cluster", clusterName, (config) => config.clusters?.find(({ name }) => name === clusterName)?.cluster);
  const userName = context.user ?? "";
  const user: Found<User> =
    userName === "" ? { ...cluster, value: {} } : find("user", userName, (config) => config.users?.find(({ name }) => name === userName)?.user);

  const server = cluster.value.server?.replace(/\/+$/, "");
  if (server === undefined || !URL.canParse(server)) {
    throw new DrayError(
      "KUBE_CONFIG",
      `Cannot use cluster "${clusterName}" of kubeconfig "${cluster.path}": its server is "${server ?? ""}", an address is wanted`,
    );
  }
  const ca = inlineOrFile(cluster, cluster.value["certificate-authority-data"], cluster.value["certificate-authority"], "certificate-authority");
  return {
    server,
    contextName,
    namespace: context.namespace === undefined || context.namespace === "" ? "default" : context.namespace,
    ca,
    skipVerify: cluster.value["insecure-skip-tls-verify"] === true,
    tlsServerName: cluster.value["tls-server-name"],
    proxyUrl: cluster.value["proxy-url"],
    ...userCredentials(user, { ...cluster.value, server }, clock),
  };
}

function parseConfig({ path, text }: ConfigText): Kubeconfig {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (cause) {
    throw new DrayError("KUBE_CONFIG", `Cannot read kubeconfig "${path}": it is not YAML: ${messageOf(cause).split("\n")[0]}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DrayError("KUBE_CONFIG", `Cannot read kubeconfig "${path}": it is not a mapping`);
  return value;
}

type CredentialSource = Pick<Connection, "credentials" | "invalidate">;

function userCredentials(user: Found<User>, cluster: Cluster, clock: Clock): CredentialSource {
  if (user.value.exec !== undefined || user.value["auth-provider"] !== undefined) return pluginCredentials(user, cluster);
  const cert = inlineOrFile(user, user.value["client-certificate-data"], user.value["client-certificate"], "client-certificate");
  const key = inlineOrFile(user, user.value["client-key-data"], user.value["client-key"], "client-key");
  const certificate = cert === undefined || key === undefined ? {} : { cert, key };
  const impersonation = impersonationHeaders(user.value);
  const { token, username, password } = user.value;
  // A token given in place wins over a file, as in client-go.
  if (token === undefined && user.value.tokenFile !== undefined) {
    const file = tokenFile(resolve(user.folder, user.value.tokenFile), clock);
    return {
      credentials: async () => ({ headers: { authorization: `Bearer ${await file.read()}`, ...impersonation }, ...certificate }),
      invalidate: file.forget,
    };
  }
  const authorization =
    token !== undefined
      ? `Bearer ${token}`
      : username !== undefined
        ? `Basic ${Buffer.from(`${username}:${password ?? ""}`, "utf8").toString("base64")}`
        : undefined;
  const fixed: Credentials = { headers: { ...(authorization === undefined ? {} : { authorization }), ...impersonation }, ...certificate };
  return { credentials: async () => fixed, invalidate: () => undefined };
}

function impersonationHeaders(user: User): Record<string, string> {
  if (user.as === undefined) return {};
  if ((user["as-groups"]?.length ?? 0) > 1) {
    throw new DrayError("KUBE_CONFIG", `Cannot impersonate "${user.as}": more than one group is not supported`);
  }
  const group = user["as-groups"]?.[0];
  return {
    "impersonate-user": user.as,
    ...(user["as-uid"] === undefined ? {} : { "impersonate-uid": user["as-uid"] }),
    ...(group === undefined ? {} : { "impersonate-group": group }),
  };
}

/** What client-node fills in: it applies a user's credentials to the options of a request of node:https. */
interface AppliedOptions {
  headers?: Record<string, string>;
  cert?: string | Buffer;
  key?: string | Buffer;
}

function pluginCredentials(user: Found<User>, cluster: Cluster): CredentialSource {
  // Rebuilt with one entry of each, so that relative paths and merged files are settled here and not read a second time.
  const text = JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "one",
    contexts: [{ name: "one", context: { cluster: "one", user: "one" } }],
    clusters: [{ name: "one", cluster }],
    users: [{ name: "one", user: user.value }],
  });
  const load = async (): Promise<(options: AppliedOptions) => Promise<void>> => {
    const { KubeConfig } = await import("@kubernetes/client-node");
    const config = new KubeConfig();
    config.loadFromString(text);
    return (options) => config.applyToHTTPSOptions(options as Parameters<typeof config.applyToHTTPSOptions>[0]);
  };
  const impersonation = impersonationHeaders(user.value);
  let applying: ReturnType<typeof load> | undefined;
  return {
    credentials: async () => {
      applying ??= load();
      const options: AppliedOptions = {};
      try {
        await (await applying)(options);
      } catch (cause) {
        applying = undefined;
        throw new DrayError("KUBE_CONFIG", `Cannot get credentials from the plug-in of kubeconfig "${user.path}": ${messageOf(cause)}`, { cause });
      }
      const headers = Object.fromEntries(Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
      return {
        headers: { ...headers, ...impersonation },
        ...(options.cert === undefined || options.key === undefined ? {} : { cert: String(options.cert), key: String(options.key) }),
      };
    },
    // A fresh KubeConfig has no cached credential, so the plug-in runs again.
    invalidate: () => {
      applying = undefined;
    },
  };
}

function inlineOrFile(entry: Found<unknown>, data: string | undefined, file: string | undefined, field: string): string | undefined {
  if (data !== undefined && data !== "") return Buffer.from(data, "base64").toString("utf8");
  return file === undefined || file === "" ? undefined : readRequired(resolve(entry.folder, file), `the ${field} of kubeconfig "${entry.path}"`);
}

function readRequired(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new DrayError("KUBE_CONFIG", `Cannot read ${what}, file "${path}": ${messageOf(cause)}`, { cause });
  }
}

function tokenFile(path: string, clock: Clock): { read(): Promise<string>; forget(): void } {
  let kept: { readonly token: string; readonly untilMs: number } | undefined;
  return {
    read: async () => {
      if (kept !== undefined && clock.monotonicMs() < kept.untilMs) return kept.token;
      try {
        const token = (await readFile(path, "utf8")).trim();
        kept = { token, untilMs: clock.monotonicMs() + TOKEN_KEPT_MS };
        return token;
      } catch (cause) {
        throw new DrayError("KUBE_CONFIG", `Cannot read token file "${path}": ${messageOf(cause)}`, { cause });
      }
    },
    forget: () => {
      kept = undefined;
    },
  };
}
