/** Refusals of the API in the reader's words. */
import type { ApiError } from '../api/client'
import { locale, named, t } from '../i18n'

/** The API says things as “中文 · English”; the half that this reader reads, or all of it where it is not in halves. */
export function bilingual(text: string): string {
  const parts = text.split(' · ')
  const half = parts.length / 2
  if (parts.length < 2 || !Number.isInteger(half)) return text
  const [zh, en] = [parts.slice(0, half).join(' · '), parts.slice(half).join(' · ')]
  if (!/\p{Script=Han}/u.test(zh) || /\p{Script=Han}/u.test(en)) return text
  return locale.value === 'zh' ? zh : en
}

/** Why, and how the order stands where that is the reason. */
export function inWords(error: ApiError): string {
  if (error.status === 0) return t('unreachable')
  const refusal = error.problem.errors?.find((one) => one.code !== undefined)
  const said = bilingual(error.message)
  if (refusal?.code !== 'state' || !refusal.state) return said
  return `${said} ${t('stands_at', { state: named('', refusal.state) })}`
}

/** Of an upload: what whoever stands outdoors with a phone can do about it. */
export function uploadFault(error: ApiError): string {
  switch (error.status) {
    case 413:
      return t('upload_large')
    case 415:
      return t('upload_type')
    case 429:
    case 503:
      return t('upload_busy')
    case 507:
      return t('upload_full')
    default:
      return inWords(error)
  }
}
