/** What a role may ask the API for, where asking in vain would be noise; the API decides (services/domain/access.py). */

const DESK: ReadonlySet<string> = new Set(['desk', 'admin'])
const WORKERS: ReadonlySet<string> = new Set(['staff', 'grid', 'desk', 'street', 'admin'])

/** Evidence, reports of an order, and who is on duty. */
export const works = (role: string) => WORKERS.has(role)
const ASKS: ReadonlySet<string> = new Set(['grid', 'desk', 'admin'])

/** Commands to devices; what is dangerous, the desk and administrators alone (services/domain/commands/rights.py). */
export const asksDevices = (role: string) => ASKS.has(role)
export const mayAsk = (role: string, command: { dangerous: boolean }) =>
  asksDevices(role) && (!command.dangerous || DESK.has(role))
/** Notices, and what is kept with residents' reports. */
export const keepsDesk = (role: string) => DESK.has(role)
