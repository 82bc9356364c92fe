/** What an act is called. */
import { named, t } from '../../i18n'
import type { Entry } from './types'

export function whatOf({ act }: Pick<Entry, 'act'>): string {
  switch (act.kind) {
    case 'move':
      return named('move_', act.body.move)
    case 'evidence':
      return act.sort === 'photo' ? t('ph_photo_n') : named('sort_', act.sort)
    case 'report':
      return t('ph_report_n')
  }
}
