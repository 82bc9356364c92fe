/** Light or dark as the phone is set, until somebody chooses; the colour of the phone's own bar follows. */
import { ref, watchEffect } from 'vue'

const KEY = 'linhub.theme'
const asked = new URLSearchParams(location.search).get('theme') ?? localStorage.getItem(KEY)
const night = matchMedia('(prefers-color-scheme: dark)')
export const dark = ref(asked === 'dark' || (asked !== 'light' && night.matches))

night.addEventListener('change', () => {
  if (localStorage.getItem(KEY) === null) dark.value = night.matches
})

export function setDark(on: boolean): void {
  dark.value = on
  localStorage.setItem(KEY, on ? 'dark' : 'light')
}

watchEffect(() => {
  document.documentElement.dataset.theme = dark.value ? 'dark' : 'light'
  document
    .querySelector('meta[name=theme-color]')
    ?.setAttribute('content', dark.value ? '#15191c' : '#ffffff')
})
