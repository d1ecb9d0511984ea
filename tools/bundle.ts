/**
 * Bundles the program: a few JavaScript files instead of some hundred TypeScript ones, which is most of what starting a process costs.
 *
 *   npm run build                    the bundle of this checkout, under node_modules/.cache; the launcher uses it until a source changes (scripts/program.cjs)
 *   node tools/bundle.ts DIRECTORY   the same to ship: with the data files that the program reads beside it, and nothing that refers to this checkout
 *
 * Entries are `main.js`, the threads and the small processes that the sources start by `new URL("./thread.ts", import.meta.url)`. Every such address is rewritten here;
 * one that cannot be fails the build. Packages with compiled code (`koffi`, `@napi-rs/…`) are found at run time through `createRequire` and stay outside.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Plugin } from "rolldown";

const root = resolve(import.meta.dirname, "..");
/** The program as it is written. */
export const programSources: string = join(root, "apps", "dray", "src", "main.ts");
const { bundleFolder, sourceFingerprint } = createRequire(import.meta.url)("../scripts/program.cjs") as {
  bundleFolder(root: string): string;
  sourceFingerprint(root: string): { readonly name: string; readonly settled: boolean } | undefined;
};

/** Bundles of earlier states of the sources that are kept: processes started from them load more of their files as they need them. */
const KEPT_MS = 24 * 60 * 60 * 1000;
const SETTLE_MS = 1100;
const SETTLE_TRIES = 20;

/** An address relative to the module that names it. */
const ADDRESS = /new URL\(\s*(["'`])([^"'`]*)\1\s*,\s*import\.meta\.url\s*\)/g;
/** Other ways to ask where a module is, which a bundle answers differently. `createRequire` only wants a place below node_modules. */
const PLACE = /import\.meta\.(dirname|filename|resolve|url)/g;
const PLACE_ALLOWED = [/createRequire\(import\.meta\.url\)/g, /statSync\(import\.meta\.filename,/g];

export interface BundleOptions {
  /** Made anew; nothing of it may be there before. */
  readonly directory: string;
  /** Whether data files are copied into the bundle, or used where they are in this checkout, as large packages then are. */
  readonly dataFiles: "copy" | "refer";
  /** Told the folder of each package of others that something in the bundle is from. */
  readonly onPackage?: (folder: string) => void;
}

/** Writes the bundle and returns the path of its entry. Throws where a module refers to a file in a way that would not hold in a bundle. */
export async function bundleProgram({ directory, dataFiles, onPackage }: BundleOptions): Promise<string> {
  // Where only what the program needs at run time is installed, there is none.
  const { rolldown } = await import("rolldown");
  mkdirSync(directory, { recursive: true });
  const build = await rolldown({
    cwd: root,
    input: { main: programSources },
    platform: "node",
    // Packages that are large and seldom needed; here they load as well from where they are, and half of the work is saved.
    external: dataFiles === "refer" ? [/^@azure\//, /^google-auth-library/, /^@kubernetes\/client-node/] : [],
    plugins: [addresses(directory, dataFiles), httpAlone(), asciiOnly()],
    onLog(level, log, defaultHandler) {
      if (level === "warn" && log.code === "UNRESOLVED_IMPORT") throw new Error(`Cannot bundle the program: ${log.message}`);
      // What packages of others do (eval, circular imports) is theirs; what matters is that the bundle runs, which the tests see.
      if (level !== "warn") defaultHandler(level, log);
    },
  });
  try {
    const { output } = await build.write({
      dir: directory,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "[name]-[hash].js",
      // Names stay: stack traces and error classes show them.
      minify: { mangle: false, compress: true, codegen: true },
      comments: { legal: false },
    });
    const modules = output.flatMap((file) => (file.type === "chunk" ? Object.keys(file.modules) : []));
    for (const id of modules) {
      // The innermost: a package may bring others of its own.
      const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0];
      if (folder !== undefined) onPackage?.(folder);
    }
  } finally {
    await build.close();
  }
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }\n');
  return join(directory, "main.js");
}

/** Makes the addresses in our own sources hold in a bundle, which is one flat folder. */
function addresses(directory: string, dataFiles: BundleOptions["dataFiles"]): Plugin {
  const entries = new Map<string, string>();
  return {
    name: "addresses",
    transform: {
      filter: { id: /\.ts$/, code: /import\.meta\./ },
      handler(code, id) {
        if (id.includes("node_modules")) return null;
        const file = relative(root, id);
        const rewritten = code.replaceAll(ADDRESS, (_, _quote, address: string) => {
          const target = resolve(dirname(id), address);
          if (address.includes("$") || !existsSync(target)) throw new Error(`Cannot bundle ${file}: there is no file "${address}" beside it`);
          if (target.endsWith(".ts")) return emitted(target, (name) => this.emitFile({ type: "chunk", id: target, fileName: `${name}.js` }));
          if (dataFiles === "refer") return `new URL(${JSON.stringify(pathToFileURL(target).href + (statSync(target).isDirectory() ? "/" : ""))})`;
          return target === root ? 'new URL("./", import.meta.url)' : copied(target);
        });
        const rest = PLACE_ALLOWED.reduce(
          (text, allowed) => text.replaceAll(allowed, ""),
          rewritten.replaceAll(/new URL\("\.[^"]*", import\.meta\.url\)/g, ""),
        );
        const place = PLACE.exec(rest)?.[0];
        PLACE.lastIndex = 0;
        if (place !== undefined) throw new Error(`Cannot bundle ${file}: it uses ${place}; new URL("./file", import.meta.url) holds in a bundle as well`);
        return { code: rewritten };
      },
    },
  };

  function emitted(target: string, emit: (name: string) => void): string {
    const name = basename(target, ".ts");
    const known = entries.get(name);
    if (known !== undefined && known !== target) throw new Error(`Cannot bundle ${target}: ${known} would have the same name`);
    if (known === undefined && name !== "main") {
      entries.set(name, target);
      emit(name);
    }
    return `new URL("./${name}.js", import.meta.url)`;
  }

  function copied(target: string): string {
    const isFolder = statSync(target).isDirectory();
    const name = isFolder ? `${basename(target)}/` : basename(target);
    cpSync(target, join(directory, name), { recursive: true, filter: (path) => basename(path) !== "build" });
    return `new URL("./${name}", import.meta.url)`;
  }
}

/**
 * Node makes the exports of `node:http` for an import by reading them all, some of which are WebSocket and its like: behind those is a whole second HTTP client (Node's copy of undici), 13 MiB
 * of memory that nothing here uses. What is asked for as a property is read when it is.
 */
function httpAlone(): Plugin {
  const id = "\0http";
  const names = Object.entries(Object.getOwnPropertyDescriptors(http)).flatMap(([name, { get }]) => (get === undefined ? [name] : []));
  return {
    name: "http-alone",
    resolveId: {
      filter: { id: /^(node:)?http$/ },
      // A package that requires it gets the object itself already.
      handler: (_source, _importer, { kind }) => (kind === "import-statement" || kind === "dynamic-import" ? id : null),
    },
    load: {
      filter: { id: /^\0http$/ },
      handler: () => `const http = process.getBuiltinModule("node:http");\nexport default http;\nexport const { ${names.join(", ")} } = http;\n`,
    },
  };
}

/** V8 keeps the text of a file while the program runs, and needs two bytes for each of its characters as soon as one of them is beyond Latin-1: a single "…" doubled a file. */
function asciiOnly(): Plugin {
  return {
    name: "ascii-only",
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) if (file.type === "chunk") file.code = asAscii(file.code);
    },
  };
}

/**
 * A program of the same meaning in ASCII. An escape says the same in strings, templates, regular expressions and names; comments are gone by then.
 * Only what asks for the raw text of a template would see the difference, which nothing here does.
 */
export function asAscii(code: string): string {
  return code.replaceAll(/(\\*)([^\0-\x7f])/g, (_, backslashes: string, character: string) => {
    // One before it escapes the character itself, which says nothing; before an escape it would.
    const kept = backslashes.length % 2 === 0 ? backslashes : backslashes.slice(1);
    return `${kept}\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The bundle of the sources as they are now, made where it is missing. Returns its entry, or the sources' where they change all the time. */
export async function ensureBundle(): Promise<string> {
  const kept = bundleFolder(root);
  for (let attempt = 0; attempt < SETTLE_TRIES; attempt++) {
    const fingerprint = sourceFingerprint(root);
    if (fingerprint === undefined) break;
    const directory = join(kept, fingerprint.name);
    if (existsSync(join(directory, "main.js"))) return join(directory, "main.js");
    if (!fingerprint.settled) {
      await new Promise((settled) => setTimeout(settled, SETTLE_MS));
      continue;
    }
    const part = `${directory}.${process.pid}.part`;
    rmSync(part, { recursive: true, force: true });
    try {
      await bundleProgram({ directory: part, dataFiles: "refer" });
      // A source that was changed meanwhile may be in it or not: it is neither the old state nor the new.
      if (sourceFingerprint(root)?.name === fingerprint.name) moveInto(part, directory);
    } finally {
      rmSync(part, { recursive: true, force: true });
    }
    removeOld(kept);
  }
  return programSources;
}

/** Two processes may have made the same bundle: the first one stays. */
function moveInto(part: string, directory: string): void {
  try {
    renameSync(part, directory);
  } catch (error) {
    if (!existsSync(join(directory, "main.js"))) throw error;
  }
}

function removeOld(kept: string): void {
  const names = readdirSync(kept).map((name) => join(kept, name));
  const now = Date.now();
  for (const path of names) if (now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? now) > KEPT_MS) rmSync(path, { recursive: true, force: true });
}

if (import.meta.main) {
  const [directory] = process.argv.slice(2);
  if (directory === undefined) process.stdout.write(`${await ensureBundle()}\n`);
  else {
    if (existsSync(directory) && readdirSync(directory).length > 0) throw new Error(`Cannot bundle into "${directory}": it is not empty`);
    process.stdout.write(`${await bundleProgram({ directory: resolve(directory), dataFiles: "copy" })}\n`);
  }
}
