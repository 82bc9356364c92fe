/** Builds the phone page's service worker beside it, with the list of exactly the files of this build. */
import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { Plugin } from 'vite'
import { build } from 'vite'

const ALWAYS = ['/favicon.svg', '/m/manifest.webmanifest', '/m/icon-192.png']

interface Chunk {
  type: 'chunk'
  fileName: string
  facadeModuleId: string | null
  imports: string[]
  dynamicImports: string[]
  viteMetadata?: { importedCss: Set<string> }
}
type Bundle = Record<string, Chunk | { type: 'asset'; fileName: string }>

/** Everything the phone's entry reaches, but for the slices of the font, which are kept as they are met. */
export function shellOf(bundle: Bundle): string[] {
  const found = new Set<string>()
  const visit = (name: string): void => {
    const chunk = bundle[name]
    if (chunk?.type !== 'chunk' || found.has(name)) return
    found.add(name)
    for (const css of chunk.viteMetadata?.importedCss ?? []) found.add(css)
    for (const next of [...chunk.imports, ...chunk.dynamicImports]) visit(next)
  }
  for (const one of Object.values(bundle)) {
    if (one.type === 'chunk' && one.facadeModuleId?.endsWith('phone.html')) visit(one.fileName)
  }
  return [...found].map((name) => `/${name}`).sort()
}

export function phoneWorker(): Plugin {
  let out = ''
  let testing = false
  return {
    name: 'phone-worker',
    apply: 'build',
    configResolved(config) {
      out = resolve(config.root, config.build.outDir)
      testing = config.mode === 'test'
    },
    async writeBundle(_, bundle) {
      if (testing) return
      const shell = [...shellOf(bundle as unknown as Bundle), ...ALWAYS]
      const page = bundle['phone.html']
      const source = page?.type === 'asset' ? String(page.source) : ''
      const name = createHash('sha256').update(shell.join('\n')).update(source).digest('hex').slice(0, 16)
      await build({
        configFile: false,
        logLevel: 'warn',
        publicDir: false,
        define: { __BUILD__: JSON.stringify(name), __SHELL__: JSON.stringify(shell) },
        build: {
          outDir: resolve(out, 'm'),
          emptyOutDir: false,
          target: 'es2022',
          lib: {
            entry: resolve('src/phone/sw.ts'),
            formats: ['iife'],
            name: 'worker',
            fileName: () => 'sw.js',
          },
        },
      })
    },
  }
}
