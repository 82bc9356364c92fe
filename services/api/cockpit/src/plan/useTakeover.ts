/** A new critical alarm takes the plan to its place, gently, and gives the view back once somebody has it. */
import type { Ref } from 'vue'
import { computed, shallowRef, watch } from 'vue'
import type { Alert, Order } from '../api/types'
import type { Live } from '../live/useLive'
import type { PlanView } from './useView'
import type { View } from './view'

export interface Takeover {
  alert: Ref<Alert | null>
  order: Ref<Order | null>
  release(): void
}

export function placeOf(
  live: Live,
  alert: Pick<Alert, 'device_id' | 'building_id'>,
): { x: number; y: number } | null {
  const state = live.state.value
  if (!state) return null
  const device = alert.device_id ? state.devices.get(alert.device_id) : undefined
  if (device) return { x: device.x, y: device.y }
  const building = state.plan.buildings.find((one) => one.id === alert.building_id)
  return building ? { x: building.x + building.width / 2, y: building.y + building.depth / 2 } : null
}

export function useTakeover(live: Live, plan: PlanView): Takeover {
  const alert = shallowRef<Alert | null>(null)
  let before: { view: View; touched: boolean } | null = null

  const order = computed(() => {
    const id = alert.value?.id
    if (!id) return null
    for (const one of live.state.value?.orders.values() ?? []) if (one.alert_id === id) return one
    return null
  })

  live.onRaised((raised) => {
    if (raised.severity !== 'critical') return
    const place = placeOf(live, raised)
    before ??= { view: plan.view.value, touched: plan.touched.value }
    alert.value = raised
    if (place) plan.focusOn(place.x, place.y)
  })

  function release(): void {
    alert.value = null
    if (!before) return
    if (before.touched) plan.flyTo(before.view)
    else plan.fitAll()
    before = null
  }

  // Who moved the window during the takeover has chosen a view: it stays.
  watch(plan.view, () => {
    if (before && plan.touched.value && !before.touched) before = null
  })
  watch(
    () => [order.value?.accepted_at, alert.value && live.state.value?.alerts.has(alert.value.id)] as const,
    ([accepted, open]) => {
      if (alert.value && (accepted || open === false)) release()
    },
  )
  return { alert, order, release }
}
