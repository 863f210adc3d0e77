import { defineConfig } from 'vite';

export default defineConfig({
    // Laravel serves what stands in public/ itself; Vite must not copy it into its own output.
    publicDir: false,
    base: '/build/',
    build: {
        outDir: 'public/build',
        manifest: 'manifest.json',
        // Images stay files of their own, however small, so that the manifest lists them.
        assetsInlineLimit: 0,
        rollupOptions: {
            input: 'resources/js/app.js',
        },
    },
});
