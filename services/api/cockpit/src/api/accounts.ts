/** Accounts and sessions of the API. */
import { call } from './client'
import type { components } from './schema'

type Schemas = components['schemas']
export type LoginOptions = Schemas['LoginOptionsOut']
export type SessionRow = Schemas['SessionOut']
export type Account = Schemas['AccountOut']
export type AccountIn = Schemas['AccountIn']
export type AccountNew = Schemas['AccountNew']
export type OneTime = Schemas['OneTimeOut']

const id = encodeURIComponent

export const accounts = {
  options: () => call<LoginOptions>('GET', '/auth/options'),
  sessions: () => call<Schemas['SessionPage']>('GET', '/auth/sessions?limit=100'),
  endSession: (session: string) => call<undefined>('DELETE', `/auth/sessions/${id(session)}`),
  endOthers: () => call<Schemas['SessionsEndedOut']>('POST', '/auth/sessions/end-others'),
  password: (current: string, next: string) =>
    call<undefined>('POST', '/auth/password', { body: { current, new: next } }),
  find: (words: string, cursor: string | null) =>
    call<Schemas['AccountPage']>('POST', '/users/search', {
      body: { words: words || null, cursor, limit: 50 },
    }),
  create: (account: AccountNew, key: string) => call<OneTime>('POST', '/users', { body: account, key }),
  change: (user: string, account: AccountIn, seen: number) =>
    call<Account>('PUT', `/users/${id(user)}`, { body: account, version: seen }),
  sessionsOf: (user: string) => call<Schemas['SessionPage']>('GET', `/users/${id(user)}/sessions?limit=100`),
  endOf: (user: string, session: string) =>
    call<undefined>('DELETE', `/users/${id(user)}/sessions/${id(session)}`),
  reset: (user: string, key: string) => call<OneTime>('POST', `/users/${id(user)}/password`, { key }),
  free: (user: string) => call<undefined>('POST', `/users/${id(user)}/free`),
  disable: (user: string, why: string, seen: number) =>
    call<Account>('POST', `/users/${id(user)}/disable`, { body: { why }, version: seen }),
  enable: (user: string, seen: number) =>
    call<Account>('POST', `/users/${id(user)}/enable`, { version: seen }),
  link: (user: string, issuer: string, subject: string) =>
    call<Account>('POST', `/users/${id(user)}/external-identity`, { body: { issuer, subject } }),
  unlink: (user: string) => call<undefined>('DELETE', `/users/${id(user)}/external-identity`),
  endAll: (user: string) => call<Schemas['SessionsEndedOut']>('POST', `/users/${id(user)}/sessions/end`),
}
