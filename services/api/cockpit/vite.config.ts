import vue from '@vitejs/plugin-vue'
import { phoneWorker } from './phone-worker'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/** Every browser that runs this page reads woff2; shipping woff beside it would double the folder. */
function woff2Only(): Plugin {
  return {
    name: 'woff2-only',
    enforce: 'pre',
    transform(code, id) {
      if (!id.includes('@fontsource') || !id.includes('.css')) return null
      return { code: code.replaceAll(/,\s*url\([^)]+\.woff\)\s*format\('woff'\)/g, ''), map: null }
    },
  }
}

const api = process.env.LINHUB_API ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [woff2Only(), vue(), phoneWorker()],
  build: {
    target: 'es2022',
    // Nothing inline: the page is served under `default-src 'self'`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    rollupOptions: { input: { cockpit: 'index.html', phone: 'phone.html' } },
  },
  server: { proxy: { '/api': { target: api, changeOrigin: true } } },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
})
