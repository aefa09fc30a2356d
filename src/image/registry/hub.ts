/** Docker Hub's API is not at the host that its names carry. */
export const HUB_API = 'registry-1.docker.io';
