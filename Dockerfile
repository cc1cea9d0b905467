# One image for all of our processes; which one a container is, its command says. Node is the only thing at run time.

FROM node:20.20-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build

# Development stand-ins (KMS, devnet) need development dependencies and must not run with NODE_ENV=production.
FROM build AS dev
RUN install -d -o node -g node /state
USER node

FROM build AS shipped
RUN rm -rf dist/dev dist/test dist/bench dist/conformance dist/page/*.js*

FROM node:20.20-slim AS production
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY sql ./sql
COPY contracts/artifacts ./contracts/artifacts
COPY --from=shipped /app/dist ./dist
USER node
