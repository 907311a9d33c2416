import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';
import { rooms } from './scripts/eslint_rooms.mjs';

export default tseslint.config(
  { ignores: ['build/', 'dist/', 'node_modules/', '**/*.cjs'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: false }],
      '@typescript-eslint/dot-notation': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/prefer-for-of': 'off',
      '@typescript-eslint/no-invalid-void-type': ['error', { allowAsThisParameter: true }],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ['lib/**/*.ts'],
    ignores: ['lib/report/page/**'],
    plugins: { partlens: { rules: { rooms } } },
    rules: { 'partlens/rooms': 'error' },
  },
  {
    files: ['lib/cli/**/*.ts'],
    ignores: ['lib/cli/terminal.ts'],
    rules: {
      'no-console': 'error', // print() and printError() keep control characters from terminals
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: Object.fromEntries(
        ['Buffer', 'console', 'performance', 'process', 'URL'].map((name) => [name, 'readonly']),
      ),
    },
  },
);
