import { createApp } from 'vue'
import '../styles/tokens.css'
import '../styles/base.css'
import './phone.css'
import Phone from './Phone.vue'
import { stayLoggedIn } from '../api/session'
import { bringGlyphs } from './lib/glyphs'
import { register } from './lib/update'

// The worker answers for what lies under `/m/`; `/m` alone would be outside of it.
if (location.pathname === '/m') history.replaceState(history.state, '', `/m/${location.search}`)
createApp(Phone).mount('#app')
bringGlyphs()
stayLoggedIn()
void register()
