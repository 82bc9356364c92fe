/** Chinese glyphs for machines that have none: slices by unicode-range, fetched only as characters need them. */
import '@fontsource/noto-sans-sc/400.css'
import '@fontsource/noto-sans-sc/600.css'
